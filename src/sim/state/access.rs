//! Who may do what: users known by token or certificate, and simple rules.

/// Users and rules. Without any user everybody may do everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    users: Vec<User>,
    rules: Vec<Rule>,
}

/// Somebody the server knows.
#[derive(Clone)]
struct User {
    name: String,
    token: String,
}

/// Lets a user use some verbs on some resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name of the user, or of a group of the user's certificate.
    pub user: String,
    /// As in `list`; `*` is all.
    pub verbs: Vec<String>,
    /// As in `pods` or `deployments.apps`; `*` is all.
    pub resources: Vec<String>,
    /// Where; `*` is everywhere, and only it allows requests across namespaces.
    pub namespaces: Vec<String>,
    /// What an access review tells as the reason.
    pub reason: String,
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    groups: Vec<String>,
    is_admin: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action<'a> {
    pub(crate) verb: &'a str,
    /// `pods` or `deployments.apps`.
    pub(crate) resource: &'a str,
    /// Empty for all namespaces and for resources without.
    pub(crate) namespace: &'a str,
}

/// The group that may do everything, as in every cluster.
const ADMINS: &str = "system:masters";

impl Access {
    /// Adds a user; from then on requests that show nothing are anonymous.
    pub(crate) fn add_user(&mut self, name: &str, token: &str) {
        self.users.push(User { name: name.to_owned(), token: token.to_owned() });
    }

    pub(crate) fn add_rule(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Takes back all rules of a user.
    pub(crate) fn clear_rules(&mut self, user: &str) {
        self.rules.retain(|rule| rule.user != user);
    }

    /// Who shows this token or certificate; nobody when the token is unknown.
    pub(crate) fn caller(&self, token: Option<&str>, certificate: Option<&(String, Vec<String>)>) -> Option<Caller> {
        if let Some((name, groups)) = certificate {
            let is_admin = self.users.is_empty() || groups.iter().any(|group| group == ADMINS);
            return Some(Caller { name: name.clone(), groups: groups.clone(), is_admin });
        }
        if self.users.is_empty() {
            return Some(Caller { name: "kubernetes-admin".to_owned(), groups: Vec::new(), is_admin: true });
        }
        let name = match token {
            Some(token) => &self.users.iter().find(|user| !user.token.is_empty() && user.token == token)?.name,
            None => "system:anonymous",
        };
        Some(Caller { name: name.to_owned(), groups: Vec::new(), is_admin: false })
    }

    /// The reason why the caller may do this, if so.
    pub(crate) fn allows(&self, caller: &Caller, action: Action<'_>) -> Option<&str> {
        if caller.is_admin {
            return Some("");
        }
        let is_in = |list: &[String], wanted: &str| list.iter().any(|it| it == "*" || (!wanted.is_empty() && it == wanted));
        let mut rules = self.rules.iter().filter(|rule| {
            (rule.user == caller.name || caller.groups.contains(&rule.user))
                && is_in(&rule.verbs, action.verb)
                && is_in(&rule.resources, action.resource)
                && is_in(&rule.namespaces, action.namespace)
        });
        rules.next().map(|rule| rule.reason.as_str())
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({})", self.name)
    }
}
