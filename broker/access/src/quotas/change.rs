//! Changes of quotas as clients ask for them, with the rules of Kafka's `ClientQuotaControlManager` (KIP-546).

use std::collections::BTreeMap;

use ottla_wire::Str;

use super::rules::{QuotaRules, Resource};
use super::subject::{CONNECTION_CREATION_RATE, Subject};

/// A change of one subject's quotas.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaChange {
    /// Whose quotas.
    pub subject: Subject,
    /// The new values by Kafka's names; `None`: there shall be no such quota. The others stay.
    pub quotas: BTreeMap<Str, Option<f64>>,
}

impl QuotaChange {
    /// Refuses quotas that the subject can't have.
    ///
    /// # Errors
    /// Why, for the client.
    pub fn check(&self) -> Result<(), String> {
        for (key, value) in &self.quotas {
            let Some(value) = *value else { continue };
            let kind = self.kind_of(key).ok_or_else(|| format!("Invalid configuration key {key}"))?;
            // Written so that NaN is refused, too.
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("Quota {key} must be greater than 0"));
            }
            match kind {
                QuotaValueType::Fraction => continue,
                QuotaValueType::Int if value > f64::from(i32::MAX) => {
                    return Err(format!("Proposed value for {key} is too large for an INT."));
                }
                QuotaValueType::Long if value > i64::MAX as f64 => {
                    return Err(format!("Proposed value for {key} is too large for a LONG."));
                }
                QuotaValueType::Int | QuotaValueType::Long => {}
            }
            if (value % 1.0).abs() > 1e-6 {
                return Err(format!("{key} cannot be a fractional value."));
            }
        }
        Ok(())
    }

    fn kind_of(&self, key: &str) -> Option<QuotaValueType> {
        let resource = Resource::ALL.into_iter().find(|resource| resource.quota_name() == key);
        match (&self.subject, resource) {
            (Subject::Client(_), Some(Resource::Produce | Resource::Fetch)) => Some(QuotaValueType::Long),
            (Subject::Client(_), Some(Resource::Request | Resource::ControllerMutation)) => {
                Some(QuotaValueType::Fraction)
            }
            (Subject::Address(_), None) if key == CONNECTION_CREATION_RATE => Some(QuotaValueType::Int),
            (Subject::Client(_) | Subject::Address(_), _) => None,
        }
    }

    /// Whether the rules show it.
    pub fn is_made(&self, rules: &QuotaRules) -> bool {
        let now = rules.quotas_of(&self.subject);
        self.quotas.iter().all(|(key, value)| now.get(&**key).copied() == *value)
    }
}

/// What numbers a quota takes.
enum QuotaValueType {
    Int,
    Long,
    Fraction,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(components: &[(&'static str, Option<&'static str>)]) -> Result<Subject, String> {
        let named = components.iter().map(|(kind, name)| (Str::from_static(kind), name.map(Str::from_static)));
        Subject::new(&named.collect())
    }

    #[test]
    fn quotas_are_of_their_subject_and_positive() {
        let client = [("user", None)];
        let address = [("ip", None)];
        for (components, key, value, expected) in [
            (&client, "producer_byte_rate", 1024.0, Ok(())),
            (&client, "request_percentage", 0.5, Ok(())),
            (&client, "controller_mutation_rate", 0.1, Ok(())),
            (&address, "connection_creation_rate", 5.0, Ok(())),
            (&client, "consumer_byte_rate", 0.5, Err("consumer_byte_rate cannot be a fractional value.")),
            (&client, "consumer_byte_rate", 0.0, Err("Quota consumer_byte_rate must be greater than 0")),
            (&client, "request_percentage", f64::NAN, Err("Quota request_percentage must be greater than 0")),
            (
                &client,
                "producer_byte_rate",
                1e19,
                Err("Proposed value for producer_byte_rate is too large for a LONG."),
            ),
            (
                &address,
                "connection_creation_rate",
                3e9,
                Err("Proposed value for connection_creation_rate is too large for an INT."),
            ),
            (&address, "producer_byte_rate", 1.0, Err("Invalid configuration key producer_byte_rate")),
            (&client, "connection_creation_rate", 1.0, Err("Invalid configuration key connection_creation_rate")),
            (&client, "nothing", 1.0, Err("Invalid configuration key nothing")),
        ] {
            let subject = subject(components).expect("a subject");
            let change = QuotaChange { subject, quotas: [(Str::from_static(key), Some(value))].into() };
            assert_eq!(change.check(), expected.map_err(str::to_owned), "{key} {value}");
        }
    }
}
