//! A pod without a kubelet: the container of a Deployment that is on the server, run as a kubelet would run it.
//!
//! Takes the Deployment and its volumes' sources from the server; gives a daemon whose command line, user, mounted paths and
//! login are those of the pod. It runs in a mount namespace and a folder of its own, which needs root. Its port alone is
//! another, since daemons run side by side.

use crate::cluster::Cluster;
use crate::daemon::Setup;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a Deployment says about its only container.
#[derive(Debug)]
pub(crate) struct Pod {
    /// The pod's specification, from the server.
    pub(crate) spec: Value,
    namespace: String,
}

impl Pod {
    /// Reads it from the server.
    pub(crate) fn of(cluster: &Cluster, namespace: &str, deployment: &str) -> Self {
        let text = cluster.kubectl.run(&format!("get deployment {deployment} -n {namespace} -o json"));
        let mut deployment: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        Self { spec: deployment["spec"]["template"]["spec"].take(), namespace: namespace.to_owned() }
    }

    /// Its container.
    pub(crate) fn container(&self) -> &Value {
        let containers = self.spec["containers"].as_array().expect("a pod has containers");
        assert_eq!(containers.len(), 1, "{containers:?}");
        &containers[0]
    }

    /// The command line: `command`, then `args`.
    pub(crate) fn command_line(&self) -> Vec<String> {
        ["command", "args"].iter().flat_map(|key| texts(&self.container()[key])).collect()
    }

    /// The port that the container gives this name.
    pub(crate) fn port(&self, name: &Value) -> u64 {
        let port = find(&self.container()["ports"], "name", name);
        port["containerPort"].as_u64().expect("a port is a number")
    }

    /// The text of this key of the `ConfigMap` that is mounted at `folder`.
    pub(crate) fn mounted_text(&self, cluster: &Cluster, folder: &str, key: &str) -> String {
        self.config_map(cluster, folder)[key].as_str().unwrap_or_else(|| panic!("{folder} holds no {key}")).to_owned()
    }

    /// A daemon that runs as the pod does, but for the port, and logs in with `token` as a pod does.
    pub(crate) fn setup(&self, cluster: &Cluster, token: &str) -> Setup {
        let setup = Setup::bare().release().secrets(cluster);
        let root = root_of(&setup);
        make_root(&root, setup.binary());
        let group = number(&self.spec["securityContext"]["fsGroup"]);
        for path in self.mount_paths() {
            fs::create_dir_all(inside(&root, path)).expect("the pod's folder is ours");
            if self.volume(path)["configMap"].is_object() {
                self.write_config_map(cluster, path, &setup);
            }
        }
        fs::create_dir_all(setup.output()).expect("the daemon's folder is ours");
        hand_over(&setup.output(), group, 0o2775);
        write_account(&inside(&root, SERVICE_ACCOUNT), &cluster.authority(), token, group);
        let line = self.command_line();
        let (program, arguments) = line.split_first().expect("a container has a command");
        let address = cluster.server.strip_prefix("https://").expect("API servers speak TLS");
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "443"));
        let wrapper = self.wrapper(&setup);
        // One port serves one daemon of the machine.
        let arguments = arguments.join(" ").replace("0.0.0.0:8080", &format!("127.0.0.1:{}", setup.port()));
        setup
            .behind(wrapper, Path::new(program))
            .arguments(&arguments)
            .variable("KUBERNETES_SERVICE_HOST", host.trim_matches(['[', ']']))
            .variable("KUBERNETES_SERVICE_PORT", port)
    }

    /// Runs a command in the pod of this daemon, as `kubectl exec` does; what it prints.
    pub(crate) fn exec(&self, setup: &Setup, words: &[&str]) -> String {
        let wrapper = self.wrapper(setup);
        let (program, arguments) = wrapper.split_first().expect("a wrapper is a program");
        let output = Command::new(program).args(arguments).args(words).output().expect("a pod can be made");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }

    /// What a command has to follow to run in the pod of this daemon.
    fn wrapper(&self, setup: &Setup) -> Vec<String> {
        let written: Vec<&str> = self.mount_paths().filter(|path| !self.volume(path)["configMap"].is_object()).collect();
        assert_eq!(written.len(), 1, "the pod has one folder to write to: {written:?}");
        let user = &self.spec["securityContext"];
        let ids = [&user["runAsUser"], &user["runAsGroup"], &user["fsGroup"]].map(|id| number(id).to_string());
        let mut wrapper: Vec<String> = ["unshare", "-m", "sh", "-c", ENTER].map(str::to_owned).into();
        wrapper.extend([root_of(setup).display().to_string(), setup.output().display().to_string(), written[0].to_owned()]);
        wrapper.extend(ids);
        wrapper
    }

    fn mount_paths(&self) -> impl Iterator<Item = &str> {
        let mounts = self.container()["volumeMounts"].as_array().expect("the container has mounts");
        mounts.iter().map(|mount| mount["mountPath"].as_str().expect("a mount has a path"))
    }

    /// Brings the mounted `ConfigMap` up to date, as a kubelet does: a new folder, and one link that is swapped.
    pub(crate) fn write_config_map(&self, cluster: &Cluster, path: &str, setup: &Setup) {
        let folder = inside(&root_of(setup), path);
        let data = self.config_map(cluster, path);
        let fresh = (0..).map(|number| format!("..data_{number}")).find(|name| !folder.join(name).exists());
        let fresh = fresh.expect("there is no end of numbers");
        fs::create_dir(folder.join(&fresh)).expect("the pod's folder is ours");
        for (key, text) in data.as_object().expect("a ConfigMap has data") {
            let text = text.as_str().expect("its values are texts").replace("port: 8080", &format!("port: {}", setup.port()));
            fs::write(folder.join(&fresh).join(key), text).expect("the pod's folder is ours");
            if !folder.join(key).exists() {
                symlink(Path::new("..data").join(key), folder.join(key)).expect("the pod's folder is ours");
            }
        }
        symlink(&fresh, folder.join("..data_tmp")).expect("the pod's folder is ours");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("the pod's folder is ours");
    }

    /// The data of the `ConfigMap` that is mounted there.
    fn config_map(&self, cluster: &Cluster, path: &str) -> Value {
        let volume = self.volume(path);
        let name = volume["configMap"]["name"].as_str().unwrap_or_else(|| panic!("no ConfigMap is mounted at {path}"));
        let text = cluster.kubectl.run(&format!("get configmap {name} -n {} -o json", self.namespace));
        let mut config_map: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        config_map["data"].take()
    }

    /// The volume that is mounted at this path.
    fn volume(&self, path: &str) -> &Value {
        let mount = find(&self.container()["volumeMounts"], "mountPath", &Value::from(path));
        find(&self.spec["volumes"], "name", &mount["name"])
    }
}

/// The item of this list whose `key` is `value`.
fn find<'a>(list: &'a Value, key: &str, value: &Value) -> &'a Value {
    let found = list.as_array().and_then(|list| list.iter().find(|item| item[key] == *value));
    found.unwrap_or_else(|| panic!("{key} {value} is not in {list}"))
}

/// Whether this process may do what a pod without a kubelet needs: a mount namespace, and other users' ids.
pub(crate) fn is_possible() -> bool {
    let tried = Command::new("unshare").args(["-m", "setpriv", "--reuid=65532", "--clear-groups", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// What is `/` in the pod of this daemon.
fn root_of(setup: &Setup) -> PathBuf {
    setup.folder().join("root")
}

/// Folders of the machine that the binary is linked against, and /proc, which every container has.
fn make_root(root: &Path, binary: &Path) {
    for folder in ["lib", "lib64", "usr", "proc"] {
        fs::create_dir_all(root.join(folder)).expect("the daemon's folder is ours");
    }
    fs::copy(binary, root.join("faro")).expect("the binary can be copied");
}

/// What a kubelet projects into a pod that wants a token: readable for the pod's group.
fn write_account(folder: &Path, authority: &[u8], token: &str, group: u32) {
    fs::create_dir_all(folder).expect("the pod's folder is ours");
    for (name, content) in [("ca.crt", authority), ("token", token.as_bytes())] {
        fs::write(folder.join(name), content).expect("the pod's folder is ours");
        hand_over(&folder.join(name), group, 0o640);
    }
}

fn hand_over(path: &Path, group: u32, mode: u32) {
    chown(path, None, Some(group)).expect("root may hand over");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("root may hand over");
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.strip_prefix('/').expect("a pod's paths are absolute"))
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn number(id: &Value) -> u32 {
    id.as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or_else(|| panic!("{id} is no id"))
}

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Makes the root's file system read-only but for one folder, drops every right, and becomes the program.
const ENTER: &str = r#"
set -e
root=$0 output=$1 events=$2 user=$3 group=$4 fs_group=$5
shift 5
mount --bind "$root" "$root"
for folder in lib lib64 usr proc; do
  if [ -e "/$folder" ]; then mount --rbind "/$folder" "$root/$folder"; fi
done
mount --bind "$output" "$root$events"
mount -o remount,bind,ro "$root"
exec chroot "$root" /usr/bin/setpriv --reuid="$user" --regid="$group" --groups="$fs_group" --no-new-privs --bounding-set=-all -- "$@"
"#;
