//! Every duration of an informer, in one place, so that tests can shorten them.

use std::time::Duration;

/// How long an informer waits for what. [`Default`] gives the values of the watch protocol.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Shortest `timeoutSeconds` of a watch.
    pub watch_timeout_min: Duration,
    /// Longest `timeoutSeconds` of a watch. Some load balancers drop idle flows at 240 s.
    pub watch_timeout_max: Duration,
    /// How long after its timeout a watch that has not ended is given up, whatever comes on it.
    pub silence_margin: Duration,
    /// A watch that ends sooner has hardly been one.
    pub brief: Duration,
    /// A watch that is open again so soon after its end or a cut goes on with the server that was there before.
    pub unchecked: Duration,
    /// A server that ends a watch so little before the time that was asked for has kept to it: clocks and ways differ.
    pub end_tolerance: Duration,
    /// `timeoutSeconds` of a watch whose answers are held back until they end: so late are changes at most.
    pub held_timeout: Duration,
    /// What comes after less calm was not held back.
    pub held_calm: Duration,
    /// What was held back comes so close before the end.
    pub held_together: Duration,
    /// How long a streaming list may take for its first byte before pages are used instead.
    pub first_byte: Duration,
    /// How long a streaming list may take to say that it has ended, whatever comes before that: a proxy may swallow the word,
    /// and servers that ignore what they were asked for never say it.
    pub initial_events_end: Duration,
    /// How much longer it may take for each 10,000 objects.
    pub initial_events_step: Duration,
    /// How long an open watch waits for credit before its connection is closed. The server keeps about 75 s of history.
    pub slow: Duration,
    /// Ceiling of the first pause after a failure.
    pub backoff_first: Duration,
    /// Ceiling of every later pause.
    pub backoff_max: Duration,
    /// Ceiling of a pause while the server refuses for lack of rights.
    pub forbidden_max: Duration,
    /// After so long without a failure the pauses begin anew.
    pub backoff_calm: Duration,
    /// Longest pause that a server may ask for with `Retry-After`.
    pub retry_after_max: Duration,
    /// Between the two looks at discovery that decide whether a kind is gone.
    pub second_look: Duration,
    /// At most so long between two looks at discovery while a kind is not served.
    pub absent_check: Duration,
    /// Over how long the reconnects of a hundred watches and more are spread.
    pub reconnect_spread: Duration,
    /// How long after an unreadable event everything is listed again: one list for a burst of them.
    pub dirty_delay: Duration,
    /// At least so long between two lists because of unreadable events.
    pub dirty_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            watch_timeout_min: Duration::from_secs(200),
            watch_timeout_max: Duration::from_secs(240),
            silence_margin: Duration::from_secs(15),
            brief: Duration::from_secs(1),
            unchecked: Duration::from_secs(2),
            end_tolerance: Duration::from_secs(2),
            held_timeout: Duration::from_secs(25),
            held_calm: Duration::from_secs(10),
            held_together: Duration::from_millis(100),
            first_byte: Duration::from_secs(10),
            initial_events_end: Duration::from_secs(60),
            initial_events_step: Duration::from_secs(10),
            slow: Duration::from_secs(5),
            // Same curve as client-go's reflector: 800 ms to 30 s, factor 2, reset after 2 min.
            backoff_first: Duration::from_millis(800),
            backoff_max: Duration::from_secs(30),
            forbidden_max: Duration::from_secs(60),
            backoff_calm: Duration::from_secs(120),
            retry_after_max: Duration::from_secs(60),
            second_look: Duration::from_secs(10),
            absent_check: Duration::from_secs(5),
            reconnect_spread: Duration::from_secs(5),
            dirty_delay: Duration::from_secs(5),
            dirty_interval: Duration::from_secs(60),
        }
    }
}
