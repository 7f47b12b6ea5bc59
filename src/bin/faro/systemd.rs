//! Tells systemd how the service is doing, in the words of `sd_notify(3)`: ready, reloading, stopping, a status line, a beat.
//!
//! Takes what the controller says of itself, and news from whoever reloads or stops; gives datagrams to `$NOTIFY_SOCKET`. One
//! thread sends all of them, so that they arrive in their order. Without that variable nothing happens.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use faro::controller::Controller;
use faro::health::{Liveness, Readiness};
use faro::lifecycle::Joined;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Tells until dropped.
pub(crate) struct Telling {
    // Dropped before the thread: without anybody who has news, it ends.
    herald: Herald,
    _thread: Option<Joined>,
}

/// Passes news on, from any thread. It must be dropped before its [`Telling`].
#[derive(Clone)]
pub(crate) struct Herald(Option<Sender<News>>);

/// What the controller does not say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The configuration is about to be read again.
    Reloading,
    /// It was, whatever came of it.
    Reloaded,
    /// A stop was asked for, or the run has ended.
    Stopping,
}

/// How the service is doing.
struct Service {
    readiness: Box<dyn Fn() -> Option<Readiness> + Send>,
    liveness: Box<dyn Fn() -> Option<Liveness> + Send>,
    events_told: Box<dyn Fn() -> u64 + Send>,
}

/// The variables that systemd sets.
struct Manager {
    address: SocketAddr,
    /// A beat is expected this often; `None` without a watchdog.
    watchdog: Option<Duration>,
}

/// More news than come at once in any run.
const NEWS_MAX: usize = 16;

impl Telling {
    /// Starts the thread, where systemd wants to be told.
    ///
    /// # Errors
    ///
    /// When `$NOTIFY_SOCKET` names no socket, or there are no more descriptors or threads.
    pub(crate) fn start(controller: &Controller) -> io::Result<Self> {
        let [ready, live, told] = [controller.clone(), controller.clone(), controller.clone()];
        let service = Service {
            readiness: Box::new(move || ready.readiness()),
            liveness: Box::new(move || live.liveness()),
            events_told: Box::new(move || told.events_told()),
        };
        match Manager::find(&|name| std::env::var_os(name))? {
            Some(manager) => Self::to(manager, service),
            None => Ok(Self { herald: Herald(None), _thread: None }),
        }
    }

    fn to(manager: Manager, service: Service) -> io::Result<Self> {
        let (news, received) = bounded(NEWS_MAX);
        let thread = Thread::new(manager, service)?;
        let thread = Joined::spawn("systemd", move || thread.run(&received))?;
        Ok(Self { herald: Herald(Some(news)), _thread: Some(thread) })
    }

    /// For whoever has news.
    pub(crate) fn herald(&self) -> Herald {
        self.herald.clone()
    }
}

impl Herald {
    pub(crate) fn tell(&self, news: News) {
        if let Some(sender) = &self.0 {
            // The thread takes news for as long as anybody can have some.
            _ = sender.send(news);
        }
    }
}

impl Manager {
    fn find(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> io::Result<Option<Self>> {
        let Some(socket) = variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return Ok(None) };
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        // Set for another process, the variables were merely inherited.
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0).map(Duration::from_micros);
        let explain = |error| io::Error::other(format!("cannot tell systemd at NOTIFY_SOCKET={}: {error}", socket.display()));
        Ok(Some(Self { address: address(&socket).map_err(explain)?, watchdog }))
    }
}

/// A path, or after an `@` the name of an abstract socket.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not ready yet; systemd waits for that.
    Starting,
    /// Was ready. What becomes of that later is told in the status line.
    Running,
    Stopping,
}

struct Thread {
    socket: UnixDatagram,
    manager: Manager,
    service: Service,
    stage: Stage,
    /// A datagram was not taken, which was said.
    is_unheard: bool,
    status: String,
    next_status: Instant,
    next_beat: Instant,
    next_extension: Instant,
}

/// How often it is looked whether the service is ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// At least so long between two status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// While starting, systemd is asked for so much more time, and asked again long before it is over.
const EXTENSION: Duration = Duration::from_secs(60);
const EXTENSION_INTERVAL: Duration = Duration::from_secs(15);

/// How long systemd may take to make room for a datagram.
const SEND_LIMIT: Duration = Duration::from_secs(1);

impl Thread {
    fn new(manager: Manager, service: Service) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_LIMIT))?;
        let now = Instant::now();
        let (status, stage) = (String::new(), Stage::Starting);
        Ok(Self {
            socket,
            manager,
            service,
            stage,
            is_unheard: false,
            status,
            next_status: now,
            next_beat: now,
            next_extension: now,
        })
    }

    fn run(mut self, news: &Receiver<News>) {
        loop {
            match news.recv_timeout(LOOK_INTERVAL) {
                Ok(news) => self.pass_on(news),
                Err(RecvTimeoutError::Timeout) => self.look(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// While starting there is nothing that a reload could interrupt, and `READY=1` would be taken for the end of the start.
    fn pass_on(&mut self, news: News) {
        match (news, self.stage) {
            (News::Reloading, Stage::Running) => {
                self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()));
            }
            (News::Reloaded, Stage::Running) => self.send("READY=1"),
            (News::Stopping, Stage::Starting | Stage::Running) => self.stop(),
            (News::Reloading | News::Reloaded, Stage::Starting | Stage::Stopping) | (News::Stopping, Stage::Stopping) => {}
        }
    }

    fn look(&mut self, now: Instant) {
        let is_alive = (self.service.liveness)().is_none_or(|liveness| liveness.alive);
        if let Some(readiness) = (self.service.readiness)() {
            if self.stage == Stage::Starting && readiness.ready {
                self.stage = Stage::Running;
                self.next_status = now;
                self.send("READY=1");
            }
            if readiness.stopping && self.stage != Stage::Stopping {
                self.stop();
            }
            self.tell_status(&readiness, now);
        }
        if is_alive {
            self.extend_start(now);
            self.beat(now);
        }
    }

    fn stop(&mut self) {
        self.stage = Stage::Stopping;
        self.send("STOPPING=1");
    }

    fn tell_status(&mut self, readiness: &Readiness, now: Instant) {
        if now < self.next_status {
            return;
        }
        let status = status(readiness, (self.service.events_told)());
        if status != self.status {
            self.send(&format!("STATUS={status}"));
            self.status = status;
            self.next_status = now + STATUS_INTERVAL;
        }
    }

    fn extend_start(&mut self, now: Instant) {
        if self.stage == Stage::Starting && now >= self.next_extension {
            self.next_extension = now + EXTENSION_INTERVAL;
            self.send(&format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
        }
    }

    /// Twice as often as expected, so that one may come late.
    fn beat(&mut self, now: Instant) {
        if let Some(watchdog) = self.manager.watchdog
            && now >= self.next_beat
        {
            self.next_beat = now + (watchdog / 2).saturating_sub(LOOK_INTERVAL);
            self.send("WATCHDOG=1");
        }
    }

    fn send(&mut self, words: &str) {
        let sent = self.socket.send_to_addr(words.as_bytes(), &self.manager.address);
        if let Err(error) = &sent
            && !self.is_unheard
        {
            log::warn!("systemd is not told {words:?}: {error}");
        }
        self.is_unheard = sent.is_err();
    }
}

/// One line for `systemctl status`.
fn status(readiness: &Readiness, events_told: u64) -> String {
    let synced = readiness.watches - readiness.not_synced.len();
    let what = match readiness {
        Readiness { stopping: true, .. } => "stopping; ",
        Readiness { sink_failure: Some(_), .. } => "events cannot be written; ",
        Readiness { state_failure: Some(_), .. } => "the state cannot be written; ",
        _ => "",
    };
    format!("{what}{synced} of {} watches synced, {events_told} events told", readiness.watches)
}

/// Microseconds of the clock by which systemd orders reloads.
fn monotonic_usec() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use faro::api::{Watch, WatchTarget};
    use faro::health::{Condition, Health, Pulse, Reason};
    use std::sync::Arc;
    use tempfile::TempDir;

    const WATCHDOG: Duration = Duration::from_millis(600);

    /// For what must happen soon and only a failure makes late.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A socket that plays systemd, and what a service tells it.
    struct Stage {
        socket: UnixDatagram,
        health: Health,
        // Ends before the folder of its socket goes.
        telling: Telling,
        _folder: TempDir,
    }

    impl Stage {
        fn new(watchdog: Option<Duration>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let health = Health::default();
            let (ready, live) = (health.clone(), health.clone());
            let service = Service {
                readiness: Box::new(move || Some(ready.readiness())),
                liveness: Box::new(move || Some(live.liveness())),
                events_told: Box::new(|| 7),
            };
            let manager = Manager { address: SocketAddr::from_pathname(&path).unwrap(), watchdog };
            Self { socket, health, telling: Telling::to(manager, service).unwrap(), _folder: folder }
        }

        fn next(&self) -> String {
            let mut buffer = [0; 4096];
            let length = self.socket.recv(&mut buffer).expect("systemd is told something");
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        }

        fn wait_for(&self, words: &str) -> String {
            loop {
                let told = self.next();
                if told.starts_with(words) {
                    return told;
                }
            }
        }

        fn sync(&self) {
            self.health.begun();
            let target = WatchTarget::all("v1/pods".parse().unwrap());
            self.health.add_watch(Arc::new(Watch::new(target, "test", None))).set(Condition::Synced, Reason::None, "");
        }

        /// How many beats come while the watchdog would wait for four.
        fn beats(&self) -> usize {
            let end = Instant::now() + WATCHDOG * 2;
            let mut beats = 0;
            while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                self.socket.set_read_timeout(Some(left)).unwrap();
                let mut buffer = [0; 4096];
                beats += usize::from(self.socket.recv(&mut buffer).is_ok_and(|length| buffer[..length] == *b"WATCHDOG=1"));
            }
            beats
        }

        /// Waits until the watchdog would strike.
        fn wait_for_silence(&self) {
            let end = Instant::now() + PATIENCE;
            while self.beats() > 0 {
                assert!(Instant::now() < end, "beats go on");
            }
        }
    }

    #[test]
    fn ready_is_told_when_the_first_lists_have_ended_and_more_time_is_asked_for_until_then() {
        let stage = Stage::new(None);
        let unsynced: Vec<String> = [(); 2].map(|()| stage.next()).into();
        assert_eq!(unsynced, ["STATUS=0 of 0 watches synced, 7 events told", "EXTEND_TIMEOUT_USEC=60000000"]);
        stage.sync();
        assert_eq!(stage.next(), "READY=1");
        assert_eq!(stage.next(), "STATUS=1 of 1 watches synced, 7 events told");
    }

    #[test]
    fn news_are_passed_on_in_their_order_once_it_is_ready() {
        let stage = Stage::new(None);
        let herald = stage.telling.herald();
        herald.tell(News::Reloading);
        herald.tell(News::Reloaded);
        stage.sync();
        assert_eq!(stage.wait_for("READY=1"), "READY=1");
        let before = monotonic_usec();
        herald.tell(News::Reloading);
        let reloading = stage.wait_for("RELOADING=1");
        let usec: i128 = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!((before..=monotonic_usec()).contains(&usec), "{reloading}");
        [News::Reloaded, News::Stopping, News::Stopping, News::Reloading].into_iter().for_each(|news| herald.tell(news));
        stage.wait_for("READY=1");
        stage.wait_for("STOPPING=1");
        drop(herald);
        let Stage { socket, telling, .. } = stage;
        drop(telling);
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            assert!(buffer[..length].starts_with(b"STATUS="), "after the stop: {:?}", String::from_utf8_lossy(&buffer[..length]));
        }
    }

    #[test]
    fn beats_end_when_a_thread_is_stuck_and_begin_again_with_it() {
        let stage = Stage::new(Some(WATCHDOG));
        let pulse = stage.health.add_thread("lane-1");
        [(); 2].into_iter().for_each(|()| drop(stage.wait_for("WATCHDOG=1")));
        pulse.working();
        stage.wait_for_silence();
        pulse.waiting();
        stage.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        stage.wait_for("WATCHDOG=1");
        Pulse::ended(pulse);
    }

    #[test]
    fn beats_end_when_a_thread_dies() {
        let stage = Stage::new(Some(WATCHDOG));
        drop(stage.health.add_thread("lane-1"));
        stage.wait_for_silence();
    }

    #[test]
    fn without_systemd_nothing_happens_and_another_process_watchdog_is_not_ours() {
        let manager = |variables: &[(&str, &str)]| {
            let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
            Manager::find(&variable).unwrap().map(|manager| manager.watchdog)
        };
        assert_eq!(manager(&[]), None);
        assert_eq!(manager(&[("NOTIFY_SOCKET", ""), ("WATCHDOG_USEC", "9")]), None);
        let own = std::process::id().to_string();
        let usec = Some(Duration::from_micros(9));
        for (pid, expected) in [(None, usec), (Some(own.as_str()), usec), (Some("1"), None)] {
            let mut variables = vec![("NOTIFY_SOCKET", "@systemd"), ("WATCHDOG_USEC", "9")];
            variables.extend(pid.map(|pid| ("WATCHDOG_PID", pid)));
            assert_eq!(manager(&variables), Some(expected), "{pid:?}");
        }
    }

    #[test]
    fn an_abstract_socket_is_told_too() {
        let name = format!("faro-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let variable = |asked: &str| (asked == "NOTIFY_SOCKET").then(|| format!("@{name}").into());
        let manager = Manager::find(&variable).unwrap().unwrap();
        let service = Service { readiness: Box::new(|| None), liveness: Box::new(|| None), events_told: Box::new(|| 0) };
        let _telling = Telling::to(manager, service).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"EXTEND_TIMEOUT_USEC=60000000");
    }
}
