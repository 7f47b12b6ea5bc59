//! Asks a daemon again and again how it is, while something is done to it.

use crate::wait::eventually_some;
use faro::lifecycle::{Joined, Stop};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::Agent;

/// What it answered, and when.
#[derive(Debug)]
pub(crate) struct Doctor {
    // Dropped first: it ends the thread.
    _over: EndOnDrop,
    answers: Arc<Mutex<Vec<Answer>>>,
    _thread: Joined,
}

#[derive(Debug)]
struct EndOnDrop(Stop);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}

#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    /// Of `/ready` and `/health`; 0 where none came.
    codes: (u16, u16),
    body: String,
}

impl Doctor {
    /// Asks at this port until [`end`](Self::end).
    pub(crate) fn start(port: u16) -> Self {
        let (over, answers) = (Stop::new(), Arc::default());
        let (asked, kept) = (over.clone(), Arc::clone(&answers));
        let thread = Joined::spawn("doctor", move || ask(port, &asked, &kept)).expect("a thread for the doctor");
        Self { _over: EndOnDrop(over), answers, _thread: thread }
    }

    /// Asks no more. Gives how often `/health` was asked, how often it answered other than 200, and the codes of `/ready`, each
    /// once where it was given several times in turn.
    pub(crate) fn end(self) -> ((usize, usize), Vec<u16>) {
        let answers = Arc::clone(&self.answers);
        drop(self);
        let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let sick = answers.iter().filter(|answer| answer.codes.1 != 200).count();
        let mut ready: Vec<u16> = answers.iter().map(|answer| answer.codes.0).collect();
        ready.dedup();
        ((answers.len(), sick), ready)
    }

    /// Waits until `/ready` answers `code`, as it did not before `since`; how long that took, and what it said.
    pub(crate) fn wait_for_ready(&self, code: u16, since: Instant, deadline: Duration) -> (Duration, String) {
        eventually_some(deadline, &format!("/ready answers {code}; last were {:?}", self.last()), || {
            let answers = self.answers();
            let answer = answers.iter().find(|answer| answer.at > since && answer.codes.0 == code)?;
            Some((answer.at - since, answer.body.clone()))
        })
    }

    fn last(&self) -> Option<Answer> {
        self.answers().pop()
    }

    fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ask(port: u16, over: &Stop, answers: &Mutex<Vec<Answer>>) {
    let config = Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(Some(Duration::from_secs(5)));
    let agent: Agent = config.build().into();
    let get = |path: &str| {
        let response = agent.get(format!("http://127.0.0.1:{port}{path}")).call();
        response.map_or((0, String::new()), |mut response| {
            (response.status().as_u16(), response.body_mut().read_to_string().unwrap_or_default())
        })
    };
    while !over.wait(PACE) {
        let ((ready, body), (health, _)) = (get("/ready"), get("/health"));
        let answer = Answer { at: Instant::now(), codes: (ready, health), body };
        answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }
}

const PACE: Duration = Duration::from_millis(50);
