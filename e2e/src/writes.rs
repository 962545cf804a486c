//! Who writes what to the API server, by the API server's own count.

use anyhow::{Context, Result};
use regex::Regex;
use std::collections::BTreeMap;
use std::fmt;

/// Requests that change something, by verb, resource and group; and the bytes of their bodies by resource.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// As in `PUT leases.coordination.k8s.io`; a subresource follows after a slash.
    pub requests: BTreeMap<String, u64>,
    /// As in `kafkatopics.ottla.io`.
    pub bytes: BTreeMap<String, u64>,
}

impl Writes {
    /// Those after an earlier look.
    pub fn since(mut self, earlier: &Writes) -> Writes {
        for (now, before) in [(&mut self.requests, &earlier.requests), (&mut self.bytes, &earlier.bytes)] {
            for (name, count) in now.iter_mut() {
                *count = count.saturating_sub(before.get(name).copied().unwrap_or(0));
            }
            now.retain(|_, count| *count > 0);
        }
        self
    }

    /// How many are of this resource of ours, by its plural, subresources included.
    pub fn of_kind(&self, plural: &str) -> u64 {
        let of_kind = |name: &str| name.split(['/', ' ']).any(|part| part.strip_suffix(".ottla.io") == Some(plural));
        self.requests.iter().filter(|(name, _)| of_kind(name)).map(|(_, count)| count).sum()
    }

    /// How many are of this group.
    pub fn of_group(&self, group: &str) -> u64 {
        let of_group = |name: &str| name.split('/').next().is_some_and(|name| name.ends_with(group));
        self.requests.iter().filter(|(name, _)| of_group(name)).map(|(_, count)| count).sum()
    }

    /// All since the API server was started, from what it shows at `/metrics`.
    pub fn parse(metrics: &str) -> Result<Writes> {
        let label = Regex::new(r#"([a-z_]+)="([^"]*)""#)?;
        let mut writes = Writes::default();
        for line in metrics.lines() {
            let Some((name, rest)) = line.split_once('{') else { continue };
            if name != "apiserver_request_total" && name != "apiserver_request_body_size_bytes_sum" {
                continue;
            }
            let (labels, value) = rest.rsplit_once("} ").context("a sample has a value")?;
            let labels: BTreeMap<&str, &str> = label
                .captures_iter(labels)
                .map(|found| found.extract())
                .map(|(_, [name, value])| (name, value))
                .collect();
            let of = |name: &str| labels.get(name).copied().unwrap_or_default();
            let resource = match of("group") {
                "" => of("resource").to_owned(),
                group => format!("{}.{group}", of("resource")),
            };
            let value = value.parse::<f64>()? as u64;
            if name == "apiserver_request_body_size_bytes_sum" {
                *writes.bytes.entry(resource).or_default() += value;
            } else if matches!(of("verb"), "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION") {
                let subresource = Some(of("subresource")).filter(|part| !part.is_empty());
                let path = subresource.map_or_else(|| resource.clone(), |part| format!("{resource}/{part}"));
                *writes.requests.entry(format!("{} {path}", of("verb"))).or_default() += value;
            }
        }
        Ok(writes)
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.requests.iter().map(|(name, count)| format!("{count} {name}"));
        let bytes = self.bytes.iter().map(|(name, count)| format!("{count} bytes of {name}"));
        f.write_str(&requests.chain(bytes).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_between_two_looks_is_counted() -> Result<()> {
        // Lines of a kube-apiserver 1.34.
        let before = Writes::parse(
            "# TYPE apiserver_request_total counter\n\
             apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"coordination.k8s.io\",\
             resource=\"leases\",scope=\"resource\",subresource=\"\",verb=\"PUT\",version=\"v1\"} 5\n",
        )?;
        let after = Writes::parse(
            "apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"coordination.k8s.io\",\
             resource=\"leases\",scope=\"resource\",subresource=\"\",verb=\"PUT\",version=\"v1\"} 7\n\
             apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"ottla.io\",\
             resource=\"kafkatopics\",scope=\"resource\",subresource=\"status\",verb=\"APPLY\",version=\"v1alpha1\"} 1\n\
             apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"ottla.io\",\
             resource=\"kafkatopics\",scope=\"cluster\",subresource=\"\",verb=\"LIST\",version=\"v1alpha1\"} 9\n",
        )?;
        let writes = after.since(&before);
        assert_eq!(writes.to_string(), "1 APPLY kafkatopics.ottla.io/status, 2 PUT leases.coordination.k8s.io");
        assert_eq!(writes.of_group("ottla.io"), 1);
        assert_eq!((writes.of_kind("kafkatopics"), writes.of_kind("topics")), (1, 0));
        Ok(())
    }
}
