//! Who may import whom: the rooms of the broker, top to bottom.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails here")]

use std::path::{Path, PathBuf};

/// Leaves: everybody may use them, and they use only each other.
const LEAVES: &[&str] = &["ask", "env", "image", "loggers", "metrics", "reply", "watermark"];

/// A room, and the rooms that it uses besides leaves.
const ROOMS: &[(&str, &[&str])] = &[
    ("node", &["broker", "coord", "data_dir", "drain", "http"]),
    ("http", &["health"]),
    ("broker", &["health", "server", "handle", "fetch_sessions", "groups", "replica", "producer_ids"]),
    ("health", &["server", "replica"]),
    ("server", &["handle"]),
    ("handle", &["fetch_sessions", "groups", "replica", "producer_ids"]),
    ("fetch_sessions", &[]),
    ("groups", &["replica"]),
    ("replica", &[]),
    ("producer_ids", &[]),
    ("coord", &["data_dir", "replica"]),
    ("data_dir", &[]),
    ("drain", &[]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn rooms_import_only_those_below_them_and_only_coord_knows_kubernetes() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in sources(&src) {
        let inside = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let room = inside.split(['/', '.']).next().unwrap();
        if room == "lib" {
            continue;
        }
        let uses: &[&str] = match ROOMS.iter().find(|(name, _)| *name == room) {
            Some((_, uses)) => uses,
            None => {
                assert!(LEAVES.contains(&room), "{inside}: a room that the list does not know");
                &[]
            }
        };
        let text = std::fs::read_to_string(&file).unwrap();
        for used in text.split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if used != room && !uses.contains(&used.as_str()) && !LEAVES.contains(&used.as_str()) {
                wrong.push(format!("{inside} uses {used}"));
            }
        }
        let knows_kubernetes = text.contains("kube::") || text.contains("k8s_openapi");
        // `node` passes the client on.
        if knows_kubernetes && !matches!(room, "coord" | "node") {
            wrong.push(format!("{inside} knows Kubernetes"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
