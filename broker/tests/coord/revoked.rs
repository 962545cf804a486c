//! Users that were deleted, and an API server that shows the past.

use super::*;
use ottla_crds::KafkaUser;

/// Users with certificates.
struct Users(Api<KafkaUser>);

impl Users {
    fn of(world: &World) -> Users {
        Users(Api::namespaced(world.client.clone(), "default"))
    }

    /// Creates one; its uid.
    async fn create(&self, name: &str) -> String {
        let user = serde_json::json!({
            "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaUser", "metadata": { "name": name },
            "spec": { "clusterRef": { "name": CLUSTER }, "authentication": { "type": "tls" } },
        });
        let user = serde_json::from_value(user).unwrap();
        self.0.create(&PostParams::default(), &user).await.unwrap().uid().unwrap()
    }

    async fn delete(&self, name: &str) {
        self.0.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// A broker that lets in the user `gone`, whose uid comes last.
async fn with_a_user(world: &World) -> (Users, DataDir, Coord, String) {
    let users = Users::of(world);
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let gone = users.create("gone").await;
    shows(&coord, "the user", |image| lets_in(image, "gone", &gone)).await;
    (users, dir, coord, gone)
}

fn lets_in(image: &ClusterImage, name: &str, uid: &str) -> bool {
    image.access.credentials.has_certificate(name, uid)
}

/// Waits until the broker knows the user `next`; it lets in `gone` in none of the images until then.
async fn never_lets_in(coord: &Coord, gone: &str, next: &str) {
    let mut images = coord.images();
    let known = images.wait_for(|image| {
        assert!(!lets_in(image, "gone", gone), "a deleted user is back");
        lets_in(image, "next", next)
    });
    assert!(tokio::time::timeout(Duration::from_secs(60), known).await.is_ok(), "never: the next user");
}

/// A cache of the API server that stays behind shows a user that was deleted. Brokers that list again ask past it: that
/// none asks the cache is counted, because who waits for images may miss one between two others.
#[tokio::test]
async fn a_cache_that_shows_a_deleted_user_brings_it_back_nowhere() {
    let world = World::new(1).await;
    let (users, dir, coord, gone) = with_a_user(&world).await;
    let faults = world.server.faults();
    faults.set_stale_reads(true);
    users.delete("gone").await;
    let cached = users.0.list(&ListParams::default().match_any()).await.unwrap().items;
    assert_eq!(cached.len(), 1, "the cache shows it");
    let asked_the_cache = || faults.stale_lists("kafkausers.ottla.io");
    assert_eq!(asked_the_cache(), 1, "this test");
    shows(&coord, "the user is revoked", |image| !lets_in(image, "gone", &gone)).await;

    faults.expire_watches();
    faults.drop_watches();
    let next = users.create("next").await;
    never_lets_in(&coord, &gone, &next).await;
    drop((coord, dir));
    let dir = world.dir(0);
    never_lets_in(&world.open(&dir).await, &gone, &next).await;
    assert_eq!(asked_the_cache(), 1, "no broker");
}

/// What a backup has is what there is: the user is back until it is deleted again. Brokers must learn of that although
/// the restored versions are lower than those that they have seen, and watches from those may be silent.
#[tokio::test]
async fn after_a_restore_a_revocation_counts_again() {
    for silently in [false, true] {
        let world = World::new(1).await;
        let (users, _dir, coord, gone) = with_a_user(&world).await;
        let backup = world.server.faults().snapshot();
        users.delete("gone").await;
        shows(&coord, "the user is revoked", |image| !lets_in(image, "gone", &gone)).await;

        // Where watches are silent, the broker notices by its Lease, which it has renewed since.
        let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
        let renewed = async || leases.get(&names::broker(CLUSTER, BrokerId(0))).await.unwrap().metadata;
        let last = renewed().await.resource_version;
        until("the Lease is renewed", async || renewed().await.resource_version != last).await;
        world.server.faults().set_back(&backup, silently);
        shows(&coord, "the user of the backup", |image| lets_in(image, "gone", &gone)).await;
        users.delete("gone").await;
        shows(&coord, "the user is revoked again", |image| !lets_in(image, "gone", &gone)).await;
    }
}
