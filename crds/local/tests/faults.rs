//! Controllers in trouble: watches that break, versions that expire, an API server that is away; and what never
//! gets in over HTTP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, ResourceExt};
use ottla_local_api::{Server, Store};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(120);

fn start() -> Result<(Server, Api<Lease>)> {
    let server = Server::new(Store::Memory, Vec::new())?;
    let leases = leases(server.client("default"));
    Ok((server, leases))
}

fn leases(client: Client) -> Api<Lease> {
    Api::default_namespaced(client)
}

async fn write(leases: &Api<Lease>, name: &str, holder: &str) -> kube::Result<Lease> {
    let patch = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": holder},
    });
    leases.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(patch)).await
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Reads a controller's stream until it has seen this holder.
async fn sees(stream: &mut (impl Stream<Item = watcher::Result<Lease>> + Unpin), wanted: &str) -> Result<()> {
    let seeing = async {
        while let Some(lease) = stream.next().await {
            // A watcher reports trouble and continues by itself.
            if lease.is_ok_and(|lease| holder(&lease) == wanted) {
                return Ok(());
            }
        }
        anyhow::bail!("the stream ended")
    };
    tokio::time::timeout(LIMIT, seeing).await.with_context(|| format!("never saw {wanted}"))?
}

#[tokio::test]
async fn a_controller_outlives_dropped_watches_expired_versions_and_outages() -> Result<()> {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let (server, leases) = start()?;
        let reader = reflector::store::Writer::default();
        let stream = watcher(leases.clone(), config).default_backoff().reflect(reader).applied_objects();
        let mut stream = std::pin::pin!(stream);
        write(&leases, "a", "first").await?;
        sees(&mut stream, "first").await?;

        server.faults().drop_watches();
        write(&leases, "a", "after a drop").await?;
        sees(&mut stream, "after a drop").await?;

        server.faults().expire_watches();
        write(&leases, "a", "after expiry").await?;
        sees(&mut stream, "after expiry").await?;

        server.faults().set_outage(true);
        ensure!(write(&leases, "a", "lost").await.is_err(), "nothing gets through an outage");
        server.faults().set_outage(false);
        write(&leases, "a", "after an outage").await?;
        sees(&mut stream, "after an outage").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_that_falls_behind_the_log_gets_410() -> Result<()> {
    let (_server, leases) = start()?;
    let first = write(&leases, "a", "0").await?.resource_version().context("it has a version")?;
    let watch = leases.watch(&WatchParams::default(), &first).await?;
    for n in 1..1200 {
        write(&leases, "a", &n.to_string()).await?;
    }
    let mut watch = std::pin::pin!(watch);
    let event = tokio::time::timeout(LIMIT, watch.try_next()).await??;
    let Some(WatchEvent::Error(status)) = event else { anyhow::bail!("expected an error, got {event:?}") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(watch.try_next().await?.is_none(), "nothing follows");
    Ok(())
}

#[tokio::test]
async fn a_version_from_another_life_is_expired_and_not_waited_for() -> Result<()> {
    let (_server, leases) = start()?;
    let watch = leases.watch(&WatchParams::default(), "999999").await?;
    let event = tokio::time::timeout(LIMIT, std::pin::pin!(watch).try_next()).await??;
    assert!(matches!(&event, Some(WatchEvent::Error(status)) if status.code == 410), "{event:?}");
    Ok(())
}

#[tokio::test]
async fn writes_are_refused_as_often_as_asked() -> Result<()> {
    let (server, leases) = start()?;
    write(&leases, "a", "me").await?;
    server.faults().refuse_writes(1);
    let patch = Patch::Merge(json!({"spec": {"holderIdentity": "you"}}));
    let refused = leases.patch("a", &PatchParams::default(), &patch).await;
    assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 409), "{refused:?}");
    leases.patch("a", &PatchParams::default(), &patch).await?;
    Ok(())
}

#[tokio::test]
async fn only_reads_that_allow_it_are_stale() -> Result<()> {
    let (server, leases) = start()?;
    write(&leases, "a", "old").await?;
    server.faults().set_stale_reads(true);
    write(&leases, "a", "new").await?;
    let read = async |params: ListParams| -> Result<String> {
        let list = leases.list(&params).await?;
        Ok(list.items.first().map(holder).unwrap_or_default().to_owned())
    };
    assert_eq!(read(ListParams::default().match_any()).await?, "old");
    assert_eq!(read(ListParams::default()).await?, "new");
    server.faults().set_stale_reads(false);
    assert_eq!(read(ListParams::default().match_any()).await?, "new");
    assert_eq!(server.faults().stale_lists("leases.coordination.k8s.io"), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn latency_is_waited_out() -> Result<()> {
    let (server, leases) = start()?;
    server.faults().set_latency(Duration::from_secs(5));
    let begin = tokio::time::Instant::now();
    leases.list(&ListParams::default()).await?;
    assert!(begin.elapsed() >= Duration::from_secs(5));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_bookmarks_and_ends_in_time() -> Result<()> {
    let (_server, leases) = start()?;
    let watch = leases.watch(&WatchParams::default().timeout(150), "0").await?;
    let events: Vec<_> = watch.try_collect().await?;
    let bookmarks = events.iter().filter(|event| matches!(event, WatchEvent::Bookmark(_))).count();
    assert_eq!((events.len(), bookmarks), (3, 3), "one a minute, and one at the end");
    Ok(())
}

#[tokio::test]
async fn browsers_and_foreign_names_are_refused() -> Result<()> {
    let server = Server::new(Store::Memory, Vec::new())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    let ask = async |request: &str| -> Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await??;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    };
    let get = |headers: &str| format!("GET /version HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    assert_eq!(ask(&get("Host: localhost\r\n")).await?, "HTTP/1.1 200 OK");
    assert_eq!(ask(&get("Host: [::1]:1\r\n")).await?, "HTTP/1.1 200 OK");
    for headers in [
        "Host: evil.example\r\n",
        "",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nSec-Fetch-Mode: no-cors\r\n",
        "Host: localhost\r\nUser-Agent: Mozilla/5.0\r\n",
    ] {
        assert_eq!(ask(&get(headers)).await?, "HTTP/1.1 403 Forbidden", "{headers:?}");
    }
    let form = "POST /api/v1/namespaces HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\n\
                Content-Length: 2\r\n\r\n{}";
    assert_eq!(ask(form).await?, "HTTP/1.1 415 Unsupported Media Type");
    Ok(())
}

#[tokio::test]
async fn shutting_down_cuts_open_watches() -> Result<()> {
    let server = Server::new(Store::Memory, Vec::new())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?).parse()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.serve(listener, stopped).await
    });
    let leases = leases(Client::try_from(kube::Config::new(uri))?);
    leases.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "a"}}))?).await?;
    let watch = leases.watch(&WatchParams::default(), "0").await?;
    let mut watch = std::pin::pin!(watch);
    assert!(matches!(watch.try_next().await?, Some(WatchEvent::Added(_))));
    let _ = stop.send(());
    tokio::time::timeout(LIMIT, serving).await???;
    let after = tokio::time::timeout(LIMIT, watch.try_next()).await?;
    assert!(matches!(after, Ok(None) | Err(_)), "{after:?}");
    Ok(())
}
