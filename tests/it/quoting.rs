//! Every kind of credential by every way in which something fails, at level debug, where whoever is shown one quotes it back: it is in
//! no output. The search says how often it was quoted, and how much was looked through.

mod connecting;
mod failing;
mod login;
mod search;

use crate::answer::Answer;
use crate::api::{Api, Release, watch};
use crate::support::daemon::{Ended, Setup};
use crate::support::wait::{SOON, eventually};
use login::Login;
use search::Search;

/// A run and a check, neither of which can begin, and both for the same reason.
#[track_caller]
pub fn both_fail(setup: &Setup, what: &str) -> [Ended; 2] {
    let both = [setup.clone().run_to_end(), setup.clone().subcommand("check").run_to_end()];
    let [run, check] = both.each_ref().map(|ended| {
        let cause = cause_of(&ended.log);
        assert!(matches!(ended.code, Some(1 | 2)) && cause.is_some(), "{what}: {:?}: {}", ended.code, ended.log);
        (ended.code, cause)
    });
    assert_eq!(run, check, "{what}");
    both
}

/// What ended a run or a check: without what a run says of itself before it, and without the seconds since a certificate expired.
pub fn cause_of(log: &str) -> Option<String> {
    let words = log.lines().find_map(|line| line.strip_prefix("faro: "))?;
    let rest = words.strip_prefix("cannot start on ").and_then(|rest| rest.split_once(": "));
    let cause = rest.map_or(words, |(_, cause)| cause);
    Some(cause.split(" (certificate expired: ").next().unwrap_or_default().to_owned())
}

/// Each answer by the namespace whose objects are asked for.
fn answers(login: Login) -> Vec<(String, Answer)> {
    let credential = login.secrets()[0];
    let mut answers: Vec<_> = [400, 401, 403, 404, 405, 410, 422, 429, 500, 501, 502, 503, 504]
        .into_iter()
        .flat_map(|code| {
            let page = format!("<html>{}</html>", login.quoted());
            let page = Answer::with_headers(code, &[("Content-Type", "text/html")], &page);
            [(format!("status-{code}"), Answer::json(code, login.status(code))), (format!("page-{code}"), page)]
        })
        .collect();
    let quoted = login.quoted();
    let line = |code: u16| format!(r#"{{"type":"ERROR","object":{}}}"#, login.status(code));
    for code in [401, 403, 410, 500, 504] {
        answers.push((format!("line-{code}"), watch(&[line(code)])));
    }
    let object =
        format!(r#"{{"type":"ADDED","object":{{"metadata":{{"name":"a","resourceVersion":"1","labels":{{"{quoted}":7}}}}}}}}"#);
    answers.extend([
        ("garbage".to_owned(), watch(std::slice::from_ref(&quoted))),
        ("object".to_owned(), watch(&[object])),
        (
            "redirect".to_owned(),
            Answer::with_headers(302, &[("Location", &format!("/{}", credential.replace('+', "%2B")))], &quoted),
        ),
        (
            "redirect-away".to_owned(),
            Answer::with_headers(307, &[("Location", &format!("https://{credential}.example.com/x"))], &quoted),
        ),
        ("ok-page".to_owned(), Answer::with_headers(200, &[("Content-Type", "text/html")], &quoted)),
        ("ok-garbage".to_owned(), Answer::json(200, &quoted)),
        ("ok-status".to_owned(), Answer::json(200, login.status(403))),
        ("cut".to_owned(), Answer::json(500, login.status(500)).cut_after(700)),
        ("retry-after".to_owned(), Answer::with_headers(503, &[("Retry-After", credential), ("Date", credential)], &quoted)),
    ]);
    answers
}

/// A run that goes on, with a watch for each answer.
fn check_run(login: Login) {
    let api = Api::new(Release::V1_36);
    let answers = answers(login);
    let path = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps");
    for (namespace, answer) in &answers {
        for verb in ["watch", "list"] {
            api.server.on(&format!("{verb} {}", path(namespace)), [answer.clone()]);
        }
        api.server.on(&format!("get /api/v1/namespaces/{namespace}"), [Answer::json(403, login.status(403))]);
    }
    api.server.on("get /apis/apps/v1", [Answer::json(503, login.status(503))]);
    let version = format!(r#"{{"gitVersion":"v1.36.0-{}","major":"1","minor":"36"}}"#, login.secrets()[0]);
    api.server.instead("get /version", [Answer::json(200, version)]);
    let namespaces: Vec<_> = answers.iter().map(|(namespace, _)| namespace.as_str()).collect();
    let config = format!(
        "resources: [{{gvr: v1/configmaps, namespace_names: [{}]}}]\nmax_concurrent_lists: 64\njson_stdout: true",
        namespaces.join(", ")
    );
    let kubeconfig = api.write_kubeconfig_with_user("", &login.user(&api));
    let setup = Setup::with_config(&config).kubeconfig(&kubeconfig);
    let daemon = setup.clone().start();
    let mut search = Search::of(login);
    for (namespace, _) in &answers {
        daemon.wait_for_log(&[&format!("v1/configmaps in {namespace}: ")]);
        let asked =
            || ["watch", "list"].map(|verb| api.server.asked(&format!("{verb} {}", path(namespace)))).iter().sum::<usize>();
        eventually(SOON, &format!("{namespace} is asked for"), || asked() > 0);
        search.quotes += asked();
    }
    for page in ["/ready", "/ready?verbose=1", "/ready?strict=1", "/health", "/metrics", "/"] {
        let (_, body) = daemon.http(page).unwrap();
        search.look(page, body.as_bytes());
        assert!(!body.contains("(..)") && !body.contains("authorization"), "no words of a server: {body}");
    }
    let ended = daemon.stop();
    assert!(ended.log.contains("(..)") && ended.log.contains("authorization: B"), "what is said otherwise is in the log");
    search.look_at(&ended, &setup);
    search.check(&format!("a run with {login:?}"), 10, answers.len());
}

#[test]
fn a_token_that_servers_quote_is_in_no_output() {
    check_run(Login::Token);
}

#[test]
fn a_token_of_a_file_that_servers_quote_is_in_no_output() {
    check_run(Login::TokenFile);
}

#[test]
fn a_password_that_servers_quote_is_in_no_output() {
    check_run(Login::Password);
}

#[test]
fn a_plugins_token_that_servers_quote_is_in_no_output() {
    check_run(Login::Plugin);
}

/// By what a start and a check ask for.
#[test]
fn what_ends_a_start_or_a_check_quotes_no_credential() {
    for login in [Login::Token, Login::TokenFile, Login::Password, Login::Plugin] {
        let (mut search, mut ended_with) = (Search::of(login), Vec::new());
        let credential = login.secrets()[0];
        for path in ["/version", "/api", "/apis", "/api/v1/namespaces/kube-system"] {
            let mut answers: Vec<_> = [400, 401, 403, 429, 500, 502].map(|code| Answer::json(code, login.status(code))).into();
            answers.extend([
                Answer::json(200, login.quoted()),
                Answer::json(
                    200,
                    format!(r#"{{"gitVersion":"{credential}","resources":"{credential}","kind":"{credential}","metadata":"{credential}"}}"#),
                ),
            ]);
            for (number, answer) in answers.into_iter().enumerate() {
                let api = Api::new(Release::V1_36);
                api.server.instead(&format!("get {path}"), [answer]);
                let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
                api.server.on(&format!("get {review}"), [Answer::json(500, login.status(500))]);
                let kubeconfig = api.write_kubeconfig_with_user("", &login.user(&api));
                let setup = Setup::with_config("resources: [{gvr: v1/configmaps}]\nauto_shutdown_sec: 1").kubeconfig(&kubeconfig);
                // Every answer by the check, which asks for all that a start asks for; some of them by a start, too.
                let subcommand = setup.clone().subcommand("check").run_to_end();
                search.look_at(&subcommand, &setup);
                ended_with.push(subcommand.code);
                if number == 0 {
                    search.look_at(&setup.clone().run_to_end(), &setup);
                }
                search.quotes += api.server.asked(&format!("get {path}")) + api.server.asked(&format!("get {review}"));
            }
        }
        assert!(ended_with.iter().all(|code| *code == Some(1)), "{ended_with:?}");
        search.check(&format!("starts and checks with {login:?}"), 64, 32);
    }
}
