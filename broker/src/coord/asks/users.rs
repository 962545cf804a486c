//! Requests of Kafka's admin API about ACLs and quotas, as changes of KafkaUsers; quotas that are of no user change the
//! KafkaCluster.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString as Str;
use k8s_openapi::ByteString;
use kube::ResourceExt;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use ottla_access::quotas::QuotaChange;
use ottla_access::sasl::{CredentialsEntry, User};
use ottla_access::{Acl, Principal};
use ottla_crds::{
    ClusterQuotas, ClusterRef, KafkaUser, KafkaUserSpec, UserAuthentication, UserAuthorization, UserQuotas, names,
};
use ottla_kube::change;
use ottla_wire::ErrorCode;
use serde_json::json;

use super::{AttemptError, Desk, Granted};
use crate::ask::{AskRefusal, PasswordChange};
use crate::coord::{acls, quotas};

impl Desk {
    /// Changes the ACLs of each principal's KafkaUser, one after the other: what was done stays if a later one fails.
    pub(super) async fn change_acls(&self, add: &[Acl], remove: &[Acl]) -> Result<Granted<()>, AttemptError> {
        let principals: BTreeSet<&Principal> = add.iter().chain(remove).map(|acl| &acl.principal).collect();
        let users = self.list_users().await?;
        let users = acls::by_principal(users.iter());
        for principal in principals {
            let of = |acls: &[Acl]| acls.iter().filter(|acl| acl.principal == *principal).cloned().collect::<Vec<_>>();
            let (add, remove) = (of(add), of(remove));
            match users.get(&**principal.name()) {
                Some(user) => self.change_user(user, &add, &remove).await?,
                None if add.is_empty() => {}
                None => {
                    let authorization = UserAuthorization { acls: acls::changed(&[], &add, &[]) };
                    let spec = KafkaUserSpec { authorization: Some(authorization), ..KafkaUserSpec::default() };
                    self.create_user(principal.name(), spec).await?;
                }
            }
        }
        let (add, remove) = (add.to_vec(), remove.to_vec());
        Ok(Granted::when((), move |image| {
            image.access.authorizer.as_ref().is_none_or(|rules| {
                let there = rules.acls();
                add.iter().all(|acl| there.binary_search(acl).is_ok())
                    && remove.iter().all(|acl| there.binary_search(acl).is_err())
            })
        }))
    }

    async fn change_user(&self, read: &KafkaUser, add: &[Acl], remove: &[Acl]) -> Result<(), AttemptError> {
        let mut user = read.clone();
        let before = user.spec.authorization.clone().unwrap_or_default();
        let after = acls::changed(&before.acls, add, remove);
        if after == before.acls {
            return Ok(());
        }
        user.spec.authorization.get_or_insert_default().acls = after;
        change::swap(&self.users, read, &user).await?;
        Ok(())
    }

    /// Changes quotas, one subject after the other: what was done stays if a later one fails.
    pub(super) async fn change_quotas(&self, changes: &[QuotaChange]) -> Result<Granted<()>, AttemptError> {
        let users = self.list_users().await?;
        let users = acls::by_principal(users.iter());
        // Each object is written once, so that what was read is still there.
        let mut of_users: BTreeMap<&str, Vec<&QuotaChange>> = BTreeMap::new();
        let mut of_cluster = Vec::new();
        for change in changes {
            match quotas::user(&change.subject) {
                Some(name) => of_users.entry(name).or_default().push(change),
                None => of_cluster.push(change),
            }
        }
        for (name, changes) in of_users {
            let read = users.get(name);
            let before = read.and_then(|user| user.spec.quotas.clone());
            let change = |quotas: Option<UserQuotas>, change| quotas::changed_user(quotas.as_ref(), change);
            let quotas = changes.into_iter().fold(before.clone(), change);
            match read {
                _ if quotas == before => {}
                Some(read) => {
                    let spec = KafkaUserSpec { quotas, ..read.spec.clone() };
                    change::swap(&self.users, read, &KafkaUser { spec, ..KafkaUser::clone(read) }).await?;
                }
                None => self.create_user(name, KafkaUserSpec { quotas, ..KafkaUserSpec::default() }).await?,
            }
        }
        if !of_cluster.is_empty() {
            let read = self.clusters.get(&self.cluster_name).await?;
            let mut cluster = read.clone();
            let change = |quotas: Option<ClusterQuotas>, change| quotas::changed_cluster(quotas.as_ref(), change);
            cluster.spec.quotas = of_cluster.into_iter().fold(read.spec.quotas.clone(), change);
            change::swap(&self.clusters, &read, &cluster).await?;
        }
        let changes = changes.to_vec();
        Ok(Granted::when((), move |image| changes.iter().all(|change| change.is_made(&image.access.quotas))))
    }

    /// Changes what is kept of passwords that clients set. A user whose password is in a Secret, or who has a
    /// certificate, is refused.
    pub(super) async fn change_passwords(
        &self,
        changes: &[PasswordChange],
    ) -> Result<Granted<BTreeMap<Str, AskRefusal>>, AttemptError> {
        let users = self.list_users().await?;
        let users = acls::by_principal(users.iter());
        let mut refused = BTreeMap::new();
        let mut uids = BTreeMap::new();
        for PasswordChange { user: name, verifier, .. } in changes {
            let read = users.get(&**name).copied();
            let before = read.and_then(|user| user.spec.authentication.as_ref());
            let is_new = match before {
                Some(authentication) if authentication.is_by_clients() => false,
                Some(_) => {
                    refused.insert(name.clone(), owned_by_kubernetes(name, read));
                    continue;
                }
                None => true,
            };
            let authentication = Some(UserAuthentication::by_clients());
            match read {
                None if verifier.is_some() => {
                    self.create_user(name, KafkaUserSpec { authentication, ..KafkaUserSpec::default() }).await?;
                    return Err(AttemptError::Again); // to learn its uid
                }
                Some(read) if is_new && verifier.is_some() => {
                    let spec = KafkaUserSpec { authentication, ..read.spec.clone() };
                    change::swap(&self.users, read, &KafkaUser { spec, ..KafkaUser::clone(read) }).await?;
                }
                Some(_) | None => {}
            }
            uids.insert(name, read.and_then(|user| user.metadata.uid.clone()).unwrap_or_default());
        }
        if uids.is_empty() {
            return Ok(Granted::when(refused, |_| true)); // perhaps nobody has a password by clients
        }
        // The operator creates it when it sees the first of these users.
        let secret = names::scram_by_clients(&self.cluster_name);
        let Some(read) = self.secrets.get_opt(&secret).await? else { return Err(AttemptError::Again) };
        let kept = read.data.clone().unwrap_or_default();
        let mut data = serde_json::Map::new();
        for PasswordChange { user: name, hash, verifier } in changes {
            let Some(uid) = uids.get(name) else { continue };
            let key = CredentialsEntry::key(name);
            let before = kept.get(&key).and_then(|entry| serde_json::from_slice::<CredentialsEntry>(&entry.0).ok());
            let before = before.map(|entry| entry.user).filter(|user| user.uid == *uid);
            let mut user = before.unwrap_or_else(|| User::new(uid.clone()));
            user.set_verifier(*hash, verifier.clone());
            let entry = serde_json::to_vec(&CredentialsEntry { name: name.to_string(), user })
                .map_err(kube::Error::SerdeError)?;
            data.insert(key, json!(ByteString(entry)));
        }
        let patch = json!({ "metadata": { "resourceVersion": read.metadata.resource_version }, "data": data });
        self.secrets.patch(&secret, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let shown: Vec<PasswordChange> =
            changes.iter().filter(|change| !refused.contains_key(&change.user)).cloned().collect();
        Ok(Granted::when(refused, move |image| {
            let is_shown = |PasswordChange { user, hash, verifier }: &PasswordChange| {
                image.access.credentials.user(user).and_then(|user| user.verifier(*hash)) == verifier.as_ref()
            };
            shown.iter().all(is_shown)
        }))
    }

    async fn list_users(&self) -> Result<Vec<KafkaUser>, AttemptError> {
        let of_cluster = ListParams::default().fields(&format!("spec.clusterRef.name={}", self.cluster_name));
        Ok(self.users.list(&of_cluster).await?.items)
    }

    /// Creates the KafkaUser of a principal that has none.
    async fn create_user(&self, principal: &str, spec: KafkaUserSpec) -> Result<(), AttemptError> {
        let (own, suffixed) =
            (names::user(&self.cluster_name, principal), names::user_with_suffix(&self.cluster_name, principal));
        for name in [own, suffixed] {
            let spec = KafkaUserSpec {
                cluster_ref: ClusterRef { name: self.cluster_name.clone() },
                principal_name: (name != principal).then(|| principal.to_owned()),
                ..spec.clone()
            };
            let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
            match self.users.create(&PostParams::default(), &KafkaUser { metadata, spec, status: None }).await {
                // Another principal's, or another cluster's.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                created => return created.map(drop).map_err(AttemptError::from),
            }
        }
        Err(AttemptError::Again)
    }
}

/// Why clients can't change the password of this user.
fn owned_by_kubernetes(name: &str, user: Option<&KafkaUser>) -> AskRefusal {
    let object = user.map(ResourceExt::name_any).unwrap_or_default();
    let password = user.and_then(|user| user.spec.authentication.as_ref()?.password.as_ref());
    let message = match password.and_then(|password| password.value_from.as_ref()) {
        Some(source) => {
            format!("the password of {name} is in the Secret {}: change it there", source.secret_key_ref.name)
        }
        None => format!(
            "the KafkaUser {object} has its credentials in the Secret {object}: set password.byClients in it, so that \
            clients may set its password"
        ),
    };
    AskRefusal::new(ErrorCode::POLICY_VIOLATION, message)
}
