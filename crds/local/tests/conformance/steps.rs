//! The program: each step makes one call and notes one line, its code, reason and message or what it got.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::timeout;

const NAMESPACE: &str = "conformance";
const LIMIT: Duration = Duration::from_secs(240);

#[derive(Default)]
struct Transcript(String);

impl Transcript {
    fn note(&mut self, step: &str, outcome: impl std::fmt::Display) {
        // What differs from run to run is not compared; a line break would make two lines of one.
        let outcome = outcome.to_string().replace('\n', "\\n");
        writeln!(self.0, "{step}: {outcome}").expect("a String takes everything");
    }

    fn call<T>(&mut self, step: &str, outcome: kube::Result<T>, show: impl Fn(&T) -> Value) -> Result<Option<T>> {
        match outcome {
            Ok(value) => {
                self.note(step, show(&value));
                Ok(Some(value))
            }
            Err(kube::Error::Api(status)) => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let causes: Vec<String> = causes.map(|cause| format!("{} {}", cause.reason, cause.field)).collect();
                let message = masked(&status.message);
                self.note(step, format!("{} {} {message} {causes:?}", status.code, status.reason));
                Ok(None)
            }
            Err(error) => Err(error).context(format!("step {step:?} got no answer")),
        }
    }
}

/// A message without the versions, uids and times in it.
fn masked(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        let inner = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_uid = inner.len() == 36 && inner.chars().filter(|c| *c == '-').count() == 4;
        let is_time = inner.len() == 20 && inner.ends_with('Z') && inner.contains('T');
        let is_version = !inner.is_empty() && inner.chars().all(|c| c.is_ascii_digit()) && word.starts_with('(');
        if is_uid || is_time || is_version { word.replace(inner, "*") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("test.ottla.io", "v1", "Gadget"), "gadgets")
}

fn gadget(name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, &resource()).data(json!({ "spec": spec }))
}

fn data(object: &DynamicObject) -> Value {
    object.data.clone()
}

fn generation(object: &DynamicObject) -> Value {
    json!(object.metadata.generation)
}

/// Makes sure that a real cluster knows the test's kind.
pub async fn install(client: &Client, crd: CustomResourceDefinition) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = crd.name_any();
    crds.patch(&name, &PatchParams::apply("conformance").force(), &Patch::Apply(&crd)).await?;
    let established = kube::runtime::wait::conditions::is_crd_established();
    timeout(LIMIT, kube::runtime::wait::await_condition(crds, &name, established)).await??;
    Ok(())
}

/// All steps, in a namespace of their own.
pub async fn run(client: Client) -> Result<String> {
    let mut transcript = Transcript::default();
    let t = &mut transcript;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let gadgets: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource());
    let post = PostParams::default();

    // A namespace must be there first.
    t.call("create without namespace", gadgets.create(&post, &gadget("a", json!({"partitions": 1}))).await, data)?;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    namespaces.create(&post, &namespace).await.context("failed to create the namespace")?;

    creating(t, &gadgets).await?;
    replacing(t, &gadgets).await?;
    patching(t, &gadgets).await?;
    applying(t, &gadgets).await?;
    forgetting(t, &gadgets).await?;
    watching(t, &gadgets).await?;
    deleting(t, &gadgets).await?;
    builtin(t, &client).await?;
    owning(t, &gadgets).await?;

    namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
    until("the namespace is gone", || async { Ok(namespaces.get_opt(NAMESPACE).await?.is_none()) }).await?;
    t.call("get after its namespace went", gadgets.get("a").await, data)?;
    Ok(transcript.0)
}

async fn creating(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let post = PostParams::default();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let create = async |spec: Value| gadgets.create(&post, &gadget("bad", spec)).await;
    t.call("create", gadgets.create(&post, &gadget("a", json!({"partitions": 2}))).await, data)?;
    t.call("create again", gadgets.create(&post, &gadget("a", json!({"partitions": 2}))).await, data)?;
    t.call("create dry", gadgets.create(&dry, &gadget("dry", json!({"partitions": 2}))).await, data)?;
    t.call("get what was created dry", gadgets.get("dry").await, data)?;
    t.call("create with an illegal name", gadgets.create(&post, &gadget("A_", json!({"partitions": 2}))).await, data)?;
    let mut generated = gadget("", json!({"partitions": 1}));
    generated.metadata.name = None;
    generated.metadata.generate_name = Some("made-".into());
    let made = gadgets.create(&post, &generated).await?;
    t.note("create with generateName", made.name_any().starts_with("made-") && made.name_any().len() == 10);
    t.note("the parts that a server adds", json!([made.uid().is_some(), made.metadata.generation]));
    gadgets.delete(&made.name_any(), &DeleteParams::default()).await?;

    t.call("below the minimum", create(json!({"partitions": 0})).await, data)?;
    t.call("wrong type", create(json!({"partitions": "many"})).await, data)?;
    t.call("missing", create(json!({"replicas": 1})).await, data)?;
    t.call("not in the enum", create(json!({"partitions": 1, "policy": "Burn"})).await, data)?;
    t.call("pattern", create(json!({"partitions": 1, "cluster": "No"})).await, data)?;
    t.call("too long", create(json!({"partitions": 1, "cluster": "a".repeat(21)})).await, data)?;
    // A real server lists wrong properties in the order of a Go map, which changes each time; what is missing comes
    // last.
    t.call("two at once", create(json!({"cluster": "No"})).await, data)?;
    t.call("rule with a reason and a path", create(json!({"partitions": 1, "size": 101})).await, data)?;
    t.call(
        "duplicate in a map list",
        create(json!({"partitions": 1, "listeners": [
            {"name": "x", "port": 1}, {"name": "x", "port": 2},
        ]}))
        .await,
        data,
    )?;
    t.call(
        "too many",
        create(json!({"partitions": 1, "listeners":
            (0..6).map(|n| json!({"name": format!("x{n}"), "port": n})).collect::<Vec<_>>()
        }))
        .await,
        data,
    )?;
    t.call("unknown fields are pruned", create(json!({"partitions": 1, "bogus": 1})).await, data)?;
    gadgets.delete("bad", &DeleteParams::default()).await?;
    t.call("nulls", create(json!({"partitions": 1, "size": null, "cluster": null})).await, data)?;
    gadgets.delete("bad", &DeleteParams::default()).await?;
    let mut status = gadget("bad", json!({"partitions": 1}));
    status.data["status"] = json!({"replicas": 7});
    t.call("status is dropped", gadgets.create(&post, &status).await, data)?;
    gadgets.delete("bad", &DeleteParams::default()).await?;
    Ok(())
}

async fn replacing(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let post = PostParams::default();
    let first = gadgets.get("a").await?;
    let mut second = first.clone();
    second.data["spec"]["partitions"] = json!(3);
    t.call("replace", gadgets.replace("a", &post, &second).await, generation)?;
    t.call("replace a stale version", gadgets.replace("a", &post, &second).await, data)?;
    let mut unversioned = second.clone();
    unversioned.metadata.resource_version = None;
    t.call("replace without a version", gadgets.replace("a", &post, &unversioned).await, data)?;
    t.call(
        "replace nothing",
        gadgets
            .replace("none", &post, &{
                let mut none = second.clone();
                none.metadata.name = Some("none".into());
                none
            })
            .await,
        data,
    )?;
    let now = gadgets.get("a").await?;
    let same = gadgets.replace("a", &post, &now).await?;
    t.note("a write that changes nothing keeps the version", same.resource_version() == now.resource_version());
    let mut fewer = now.clone();
    fewer.data["spec"]["partitions"] = json!(1);
    t.call("a transition rule", gadgets.replace("a", &post, &fewer).await, data)?;
    let mut status = now.clone();
    status.data = json!({"spec": {"partitions": 99}, "status": {"replicas": 1}});
    t.call("replace status", gadgets.replace_status("a", &post, &status).await, data)?;
    t.call("replace status, stale", gadgets.replace_status("a", &post, &status).await, data)?;
    t.call("generation after a status", gadgets.get("a").await, generation)?;
    Ok(())
}

async fn patching(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let params = PatchParams::default();
    let merge = async |patch: Value| gadgets.patch("a", &params, &Patch::Merge(patch)).await;
    let json_patch = async |patch: Value| -> Result<kube::Result<DynamicObject>> {
        Ok(gadgets.patch("a", &params, &Patch::<()>::Json(serde_json::from_value(patch)?)).await)
    };
    t.call("merge patch", merge(json!({"spec": {"size": 5}})).await, data)?;
    t.call("merge patch removes", merge(json!({"spec": {"size": null}})).await, data)?;
    t.call(
        "merge patch, stale",
        merge(json!({"metadata": {"resourceVersion": "1"}, "spec": {"size": 6}})).await,
        data,
    )?;
    t.call("merge patch, invalid", merge(json!({"spec": {"partitions": 0}})).await, data)?;
    t.call("merge patch of nothing", gadgets.patch("none", &params, &Patch::Merge(json!({}))).await, data)?;
    t.call("strategic patch", gadgets.patch("a", &params, &Patch::Strategic(json!({}))).await, data)?;
    let set = |value: u32| json!({"op": "replace", "path": "/spec/partitions", "value": value});
    let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
    t.call("json patch", json_patch(json!([test("/spec/partitions", json!(3)), set(4)])).await?, generation)?;
    t.call("json patch, failed test", json_patch(json!([test("/spec/partitions", json!(3)), set(5)])).await?, data)?;
    t.call("json patch, no such path", json_patch(json!([{"op": "remove", "path": "/spec/nothing"}])).await?, data)?;
    t.call(
        "json patch, test null of nothing",
        json_patch(json!([test("/metadata/finalizers", Value::Null), set(5)])).await?,
        generation,
    )?;
    let status = json!({"spec": {"partitions": 99}, "status": {"replicas": 2}});
    t.call("patch status", gadgets.patch_status("a", &params, &Patch::Merge(status)).await, data)?;
    t.call("patch leaves the status alone", merge(json!({"status": {"replicas": 9}})).await, data)?;
    let listeners = |list: Value| json!({"spec": {"listeners": list}});
    merge(listeners(json!([{"name": "x", "port": 5}, {"name": "y", "port": 1}]))).await?;
    t.call(
        "a map list is compared by key",
        merge(listeners(json!([
            {"name": "y", "port": 1}, {"name": "x", "port": 5},
        ])))
        .await,
        |object| object.data["spec"]["listeners"].clone(),
    )?;
    t.call("an element's rule", merge(listeners(json!([{"name": "x", "port": 4}]))).await, data)?;
    t.call("get scale", gadgets.get_scale("a").await, |scale| json!([scale.spec, scale.status]))?;
    let scale = Patch::Merge(json!({"spec": {"replicas": 4}}));
    t.call("patch scale", gadgets.patch_scale("a", &params, &scale).await, |scale| json!([scale.spec, scale.status]))?;
    Ok(())
}

async fn applying(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let apply = async |manager: &str, force: bool, spec: Value| {
        let params = PatchParams { force, ..PatchParams::apply(manager) };
        gadgets.patch("b", &params, &Patch::Apply(gadget("b", spec))).await
    };
    t.call("apply creates", apply("one", false, json!({"partitions": 1, "config": {"a": "1", "b": "2"}})).await, data)?;
    t.call(
        "apply drops what it no longer states",
        apply("one", false, json!({"partitions": 1, "config": {"a": "1"}})).await,
        data,
    )?;
    t.call("another adds", apply("two", false, json!({"partitions": 1, "config": {"c": "3"}})).await, data)?;
    t.call("a conflict", apply("two", false, json!({"partitions": 2, "config": {"c": "3"}})).await, data)?;
    t.call("two conflicts", apply("two", false, json!({"partitions": 2, "config": {"a": "9", "c": "3"}})).await, data)?;
    t.call("forced", apply("two", true, json!({"partitions": 2, "config": {"c": "3"}})).await, data)?;
    t.call(
        "the loser no longer owns it",
        apply("one", false, json!({"config": {"a": "1"}, "partitions": 2})).await,
        data,
    )?;
    let edit = PatchParams { field_manager: Some("editor".into()), ..PatchParams::default() };
    gadgets.patch("b", &edit, &Patch::Merge(json!({"spec": {"partitions": 3}}))).await?;
    t.call("a conflict with an edit", apply("one", false, json!({"config": {"a": "1"}, "partitions": 4})).await, data)?;
    t.call(
        "map lists merge by key",
        apply(
            "one",
            false,
            json!({
                "config": {"a": "1"}, "partitions": 3, "listeners": [{"name": "x", "port": 1}],
            }),
        )
        .await,
        data,
    )?;
    t.call(
        "another's element stays",
        apply(
            "two",
            false,
            json!({
                "partitions": 3, "config": {"c": "3"}, "listeners": [{"name": "y", "port": 2}],
            }),
        )
        .await,
        data,
    )?;
    t.call("one's element goes", apply("one", false, json!({"config": {"a": "1"}, "partitions": 3})).await, data)?;
    gadgets.delete("b", &DeleteParams::default()).await?;
    Ok(())
}

/// One empty entry takes the record of managed fields away, and other writes than an apply begin none again.
async fn forgetting(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let params = PatchParams::default();
    let records = |object: &DynamicObject| json!(object.metadata.managed_fields.as_ref().map(Vec::len));
    t.call(
        "a new object has a record",
        gadgets.create(&PostParams::default(), &gadget("c", json!({"partitions": 1}))).await,
        records,
    )?;
    let forget = json!([
        {"op": "replace", "path": "/spec/partitions", "value": 2},
        {"op": "add", "path": "/metadata/managedFields", "value": [{}]},
    ]);
    let patch = Patch::<()>::Json(serde_json::from_value(forget)?);
    t.call("an empty entry takes it away", gadgets.patch("c", &params, &patch).await, records)?;
    let grown = Patch::Merge(json!({"spec": {"partitions": 3}}));
    t.call("another write begins none", gadgets.patch("c", &params, &grown).await, records)?;
    t.call("the changes count", gadgets.get("c").await, generation)?;
    gadgets.delete("c", &DeleteParams::default()).await?;
    Ok(())
}

async fn watching(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let params = PatchParams::default();
    let before = gadgets.list(&ListParams::default()).await?;
    let version = before.metadata.resource_version.clone().context("a list has a version")?;
    t.note("list", json!(before.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>()));
    gadgets.patch("a", &params, &Patch::Merge(json!({"metadata": {"labels": {"color": "red"}}}))).await?;
    gadgets.patch("a", &params, &Patch::Merge(json!({"metadata": {"labels": {"color": "blue"}}}))).await?;
    gadgets.patch("a", &params, &Patch::Merge(json!({"metadata": {"labels": {"color": null}}}))).await?;
    // So many events are waited for, and then for a moment whether there are more.
    const MORE: Duration = Duration::from_secs(1);
    let watch = |params: WatchParams, version: String, expected: usize| async move {
        let events = gadgets.watch(&params.timeout(LIMIT.as_secs() as u32), &version).await?;
        let mut events = events.map_ok(|event| shown(&event)).boxed();
        let mut seen = Vec::new();
        while let Ok(next) = timeout(if seen.len() < expected { LIMIT } else { MORE }, events.try_next()).await {
            match next? {
                Some(event) => seen.push(event),
                None => break,
            }
        }
        anyhow::Ok(seen)
    };
    let plain = WatchParams { bookmarks: false, ..WatchParams::default() };
    t.note("watch from a version", format!("{:?}", watch(plain.clone(), version.clone(), 3).await?));
    t.note(
        "watch with a selector",
        format!("{:?}", watch(plain.clone().labels("color=red"), version.clone(), 2).await?),
    );
    t.note("watch with another", format!("{:?}", watch(plain.clone().labels("color!=red"), version, 3).await?));
    t.note("watch from the present", format!("{:?}", watch(plain, "0".into(), 1).await?));
    let names = |list: &kube::core::ObjectList<DynamicObject>| {
        json!(list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>())
    };
    let find = async |params: ListParams| gadgets.list(&params).await;
    t.call("list by name", find(ListParams::default().fields("metadata.name=a")).await, names)?;
    t.call("list by a declared field", find(ListParams::default().fields("spec.cluster=main")).await, names)?;
    t.call("list by another field", find(ListParams::default().fields("spec.size=1")).await, names)?;
    t.call("list by labels", find(ListParams::default().labels("a in (b,c),!d")).await, names)?;
    Ok(())
}

fn shown(event: &WatchEvent<DynamicObject>) -> String {
    match event {
        WatchEvent::Added(object) => format!("ADDED {:?}", object.labels().get("color")),
        WatchEvent::Modified(object) => format!("MODIFIED {:?}", object.labels().get("color")),
        WatchEvent::Deleted(_) => "DELETED".to_owned(),
        WatchEvent::Bookmark(_) => "BOOKMARK".to_owned(),
        WatchEvent::Error(status) => format!("ERROR {} {}", status.code, status.reason),
    }
}

async fn deleting(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let params = PatchParams::default();
    let delete = DeleteParams::default();
    gadgets.patch("a", &params, &Patch::Merge(json!({"metadata": {"finalizers": ["test.ottla.io/x"]}}))).await?;
    let generation_before = gadgets.get("a").await?.metadata.generation.unwrap_or_default();
    let uid = "00000000-0000-0000-0000-000000000000".to_owned();
    let wrong = kube::api::Preconditions { uid: Some(uid), resource_version: None };
    t.call("delete with a wrong uid", gadgets.delete("a", &delete.clone().preconditions(wrong)).await, |_| json!("?"))?;
    let deleted = gadgets.delete("a", &delete).await?;
    let marked = deleted.left().context("the object waits for its finalizer")?;
    t.note(
        "delete with a finalizer",
        json!([
            marked.metadata.deletion_timestamp.is_some(),
            marked.metadata.generation.unwrap_or_default() - generation_before,
            marked.metadata.deletion_grace_period_seconds,
        ]),
    );
    t.call(
        "another finalizer comes too late",
        gadgets
            .patch(
                "a",
                &params,
                &Patch::Merge(json!({"metadata": {"finalizers": ["test.ottla.io/x", "test.ottla.io/y"]}})),
            )
            .await,
        data,
    )?;
    gadgets.patch("a", &params, &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
    t.call("get after the last finalizer", gadgets.get("a").await, data)?;
    t.call("delete again", gadgets.delete("a", &delete).await, |_| json!("?"))?;
    let post = PostParams::default();
    for name in ["x", "y"] {
        gadgets.create(&post, &gadget(name, json!({"partitions": 1}))).await?;
    }
    gadgets.delete_collection(&delete, &ListParams::default().fields("metadata.name=x")).await?;
    let left = gadgets.list(&ListParams::default()).await?;
    t.note("delete some", json!(left.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>()));
    gadgets.delete_collection(&delete, &ListParams::default()).await?;
    t.note("delete all", gadgets.list(&ListParams::default()).await?.items.len());
    Ok(())
}

async fn builtin(t: &mut Transcript, client: &Client) -> Result<()> {
    let post = PostParams::default();
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let lease: Lease = serde_json::from_value(json!({
        "metadata": {"name": "l", "annotations": {"incarnation": "7"}}, "spec": {"holderIdentity": "me"},
    }))?;
    let show = |lease: &Lease| json!([lease.spec, lease.annotations()]);
    let created = t.call("create a lease", leases.create(&post, &lease).await, show)?.context("it is new")?;
    let mut mine = created.clone();
    mine.spec.get_or_insert_default().holder_identity = Some("you".into());
    t.call("take it", leases.replace("l", &post, &mine).await, show)?;
    t.call("take it late", leases.replace("l", &post, &mine).await, show)?;
    mine.metadata.resource_version = None;
    t.call("a lease without its version", leases.replace("l", &post, &mine).await, show)?;

    let new_events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client.clone(), NAMESPACE);
    let event = serde_json::from_value(json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "action": "Make",
        "reason": "Made", "note": "made it", "reportingController": "test.ottla.io/me", "reportingInstance": "me",
        "regarding": {"kind": "Gadget", "name": "a", "namespace": NAMESPACE},
    }))?;
    new_events.create(&post, &event).await?;
    let old_events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let about = ListParams::default().fields("involvedObject.name=a,involvedObject.kind=Gadget");
    t.call("an event in the other API", old_events.list(&about).await, |list| {
        let shown = list.items.iter().map(|event| json!([event.involved_object.name, event.message, event.reason]));
        shown.collect()
    })?;
    Ok(())
}

async fn owning(t: &mut Transcript, gadgets: &Api<DynamicObject>) -> Result<()> {
    let post = PostParams::default();
    let owner = gadgets.create(&post, &gadget("owner", json!({"partitions": 1}))).await?;
    let mut owned = gadget("owned", json!({"partitions": 1}));
    owned.metadata.owner_references = Some(vec![serde_json::from_value(json!({
        "apiVersion": "test.ottla.io/v1", "kind": "Gadget", "name": "owner", "uid": owner.uid(),
    }))?]);
    gadgets.create(&post, &owned).await?;
    gadgets.delete("owner", &DeleteParams::default()).await?;
    until("the owned object is gone", || async { Ok(gadgets.get_opt("owned").await?.is_none()) }).await?;
    t.note("what is owned goes with its owner", true);
    gadgets.create(&post, &gadget("a", json!({"partitions": 1}))).await?;
    Ok(())
}

/// Polls, because it is the server's own time that passes here.
async fn until<F: Future<Output = Result<bool>>>(what: &str, holds: impl Fn() -> F) -> Result<()> {
    let ticks = futures::stream::unfold(tokio::time::interval(Duration::from_millis(50)), |mut interval| async move {
        interval.tick().await;
        Some(((), interval))
    });
    let polling = async {
        let mut ticks = std::pin::pin!(ticks);
        while ticks.next().await.is_some() {
            if holds().await? {
                return Ok(());
            }
        }
        bail!("the clock stopped")
    };
    timeout(LIMIT, polling).await.with_context(|| format!("waited in vain until {what}"))?
}
