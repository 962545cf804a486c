//! DescribeUserScramCredentials, AlterUserScramCredentials (KIP-554): the passwords of KafkaUsers. What a client sends
//! is the salted password; only what checks it is kept.

use std::collections::BTreeMap;

use ottla_access::Operation;
use ottla_access::sasl::verifier::{LEAST_ITERATIONS, MOST_ITERATIONS, Verifier};
use ottla_access::sasl::{Credentials, Hash};
use ottla_wire::m50_describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse, ScramCredentialInfo,
    ScramUserDescription,
};
use ottla_wire::m51_alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ScramAlterationResult,
    ScramCredentialUpsertion,
};
use ottla_wire::{ErrorCode, Str};

use crate::ask::{Ask, AskRefusal, PasswordChange};
use crate::handle::context::{Context, Deadline};
use crate::reply::Reply;

/// The mechanisms by their codes on the wire (`ScramMechanism`).
const MECHANISMS: [(i8, Hash); 2] = [(1, Hash::Sha256), (2, Hash::Sha512)];

/// Answers from the image.
pub(crate) fn describe(context: &Context, request: DescribeUserScramCredentialsRequest) -> Reply {
    let named = request.users.unwrap_or_default();
    if !context.may_cluster(Operation::Describe) {
        let (error_code, error_message) = AskRefusal::to_wire(Some(unauthorized()));
        let result = ScramUserDescription { error_code, error_message: error_message.clone(), ..Default::default() };
        let results = vec![result; named.len()];
        return context.reply(&DescribeUserScramCredentialsResponse {
            error_code,
            error_message,
            results,
            ..Default::default()
        });
    }
    let credentials = &context.image.access.credentials;
    // How often each is named.
    let mut users: BTreeMap<Str, u32> = BTreeMap::new();
    for user in named {
        *users.entry(user.name).or_default() += 1;
    }
    if users.is_empty() {
        let all = credentials.users().filter(|(_, user)| user.sha256.is_some() || user.sha512.is_some());
        users = all.map(|(name, _)| (name.clone(), 1)).collect();
    }
    let results = users.into_iter().map(|(user, times)| description(user, times, credentials)).collect();
    context.reply(&DescribeUserScramCredentialsResponse { results, ..Default::default() })
}

fn description(user: Str, times: u32, credentials: &Credentials) -> ScramUserDescription {
    let kept = credentials.user(&user);
    let info = |(mechanism, hash)| {
        let verifier = kept?.verifier(hash)?;
        Some(ScramCredentialInfo { mechanism, iterations: i32::try_from(verifier.iterations()).unwrap_or(i32::MAX) })
    };
    let credential_infos: Vec<ScramCredentialInfo> = MECHANISMS.into_iter().filter_map(info).collect();
    let refused = match (times, credential_infos.is_empty()) {
        (1, false) => return ScramUserDescription { user, credential_infos, ..Default::default() },
        (1, true) => AskRefusal::new(
            ErrorCode::RESOURCE_NOT_FOUND,
            format!("Attempt to describe a user credential that does not exist: {user}"),
        ),
        _ => AskRefusal::new(
            ErrorCode::DUPLICATE_RESOURCE,
            format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}"),
        ),
    };
    let (error_code, error_message) = AskRefusal::to_wire(Some(refused));
    ScramUserDescription { user, error_code, error_message, ..Default::default() }
}

/// Changes what is kept of passwords; each user whose password can't be changed is refused by itself.
pub(crate) fn alter(context: &Context, request: AlterUserScramCredentialsRequest) -> Reply {
    let deletions = request.deletions.into_iter().map(|deletion| {
        let change = hash(&deletion.name, deletion.mechanism).and_then(|hash| {
            let kept = context.image.access.credentials.user(&deletion.name);
            match kept.and_then(|user| user.verifier(hash)) {
                Some(_) => Ok(PasswordChange { user: deletion.name.clone(), hash, verifier: None }),
                None => Err(AskRefusal::new(
                    ErrorCode::RESOURCE_NOT_FOUND,
                    "Attempt to delete a user credential that does not exist",
                )),
            }
        });
        (deletion.name, change)
    });
    let upsertions = request.upsertions.into_iter().map(|upsertion| (upsertion.name.clone(), change(upsertion)));
    let mut outcomes: BTreeMap<Str, Result<PasswordChange, AskRefusal>> = BTreeMap::new();
    for (user, change) in deletions.chain(upsertions) {
        let twice = || {
            let message = "A user credential cannot be altered twice in the same request";
            Err(AskRefusal::new(ErrorCode::DUPLICATE_RESOURCE, message))
        };
        // An error that a user has stays.
        outcomes
            .entry(user)
            .and_modify(|outcome| {
                if outcome.is_ok() {
                    *outcome = twice();
                }
            })
            .or_insert(change);
    }
    if !context.may_cluster(Operation::Alter) {
        outcomes.values_mut().for_each(|outcome| *outcome = Err(unauthorized()));
    }
    let changes: Vec<PasswordChange> = outcomes.values().flatten().cloned().collect();
    let later = context.clone();
    context.later(async move {
        let refused = match later.change_passwords(changes).await {
            Ok(refused) => refused,
            Err(all) => outcomes.keys().map(|user| (user.clone(), all.clone())).collect(),
        };
        let result = |(user, outcome): (Str, Result<PasswordChange, AskRefusal>)| {
            let (error_code, error_message) =
                AskRefusal::to_wire(outcome.err().or_else(|| refused.get(&user).cloned()));
            ScramAlterationResult { user, error_code, error_message }
        };
        AlterUserScramCredentialsResponse { results: outcomes.into_iter().map(result).collect(), ..Default::default() }
    })
}

impl Context {
    /// Changes what is kept of passwords. Returns the users who are refused.
    async fn change_passwords(&self, changes: Vec<PasswordChange>) -> Result<BTreeMap<Str, AskRefusal>, AskRefusal> {
        if changes.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.ask(Deadline::default(), |answer| Ask::ChangePasswords { changes, answer }).await
    }
}

fn change(upsertion: ScramCredentialUpsertion) -> Result<PasswordChange, AskRefusal> {
    let ScramCredentialUpsertion { name, mechanism, iterations, salt, salted_password } = upsertion;
    let hash = hash(&name, mechanism)?;
    let iterations = u32::try_from(iterations).unwrap_or(0);
    if iterations < LEAST_ITERATIONS {
        return Err(AskRefusal::new(ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too few iterations"));
    }
    if iterations > MOST_ITERATIONS {
        return Err(AskRefusal::new(ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too many iterations"));
    }
    let verifier = Verifier::of_salted(hash, &salted_password, salt.to_vec(), iterations)
        .map_err(|error| AskRefusal::new(ErrorCode::UNACCEPTABLE_CREDENTIAL, error.to_string()))?;
    Ok(PasswordChange { user: name, hash, verifier: Some(verifier) })
}

/// The hash function of a mechanism's code.
fn hash(user: &str, mechanism: i8) -> Result<Hash, AskRefusal> {
    if user.is_empty() {
        return Err(AskRefusal::new(ErrorCode::UNACCEPTABLE_CREDENTIAL, "Username must not be empty"));
    }
    let known = MECHANISMS.into_iter().find(|(code, _)| *code == mechanism);
    let unknown = || AskRefusal::new(ErrorCode::UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism");
    known.map(|(_, hash)| hash).ok_or_else(unknown)
}

fn unauthorized() -> AskRefusal {
    AskRefusal::new(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "Cluster authorization failed.")
}

#[cfg(test)]
mod tests {
    use ottla_access::sasl::verifier::MOST_SALT;

    use super::*;

    #[test]
    fn a_salt_has_a_greatest_length() {
        for (length, expected) in [
            (MOST_SALT, None),
            (MOST_SALT + 1, Some((ErrorCode::UNACCEPTABLE_CREDENTIAL, "the salt must be at most 256 bytes long"))),
        ] {
            let upsertion = ScramCredentialUpsertion {
                name: "alice".into(),
                mechanism: 1,
                iterations: 4096,
                salt: vec![7; length].into(),
                salted_password: vec![0; Hash::Sha256.length()].into(),
            };
            let expected = expected.map(|(code, message)| AskRefusal::new(code, message));
            assert_eq!(change(upsertion).err(), expected, "{length}");
        }
    }
}
