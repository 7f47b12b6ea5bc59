//! What could have no effect is an error, and never silence.

use super::{Stage, resource, stop, wait_until_ready};
use faro::controller::ControllerError;
use faro::dispatch::{Settings, Subscription};
use faro::event::MatchedEvent;
use faro::sink::{JsonRecord, Verdict};

#[test]
fn what_is_registered_after_the_start_is_refused_as_it_would_never_be_called() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let check = |what: &str| {
        let refused = [
            controller.add_event_handler(|_: &MatchedEvent| Ok(())).map(drop),
            controller.add_json_middleware(|_: &MatchedEvent, _: &mut JsonRecord| Verdict::Write),
            controller.set_ready_callback(|| {}),
            controller.set_handler_settings(Settings::default()),
        ];
        for error in refused.map(Result::unwrap_err) {
            assert!(matches!(error, ControllerError::AfterStart { .. }), "{what}: {error}");
            assert!(error.to_string().ends_with("would never be used; do so before the start"), "{what}: {error}");
        }
    };
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    check("while it runs");
    stop(running);
    check("after its end");
}

#[test]
fn a_subscription_that_cannot_be_is_refused_at_once_and_costs_no_other() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let subscribe = |subscription: Subscription| controller.subscribe(subscription, |_: &MatchedEvent| Ok(()));
    _ = subscribe(Subscription::new().name("audit")).unwrap();
    for (wrong, part) in [
        (Subscription::new().lanes(0), "0 lanes"),
        (Subscription::new().queue(0, 1), "has no room"),
        (Subscription::new().name("audit"), "two subscriptions are named"),
    ] {
        let error = subscribe(wrong).unwrap_err();
        assert!(matches!(error, ControllerError::Subscription(_)) && error.to_string().contains(part), "{error}");
    }
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    stop(running);
}

#[test]
fn nothing_is_added_to_a_controller_that_was_stopped() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    stop(running);
    let error = controller.add_resources(&resource("v1/services")).unwrap_err();
    assert!(matches!(error, ControllerError::Stopped), "{error}");
}
