//! From when to when a certificate is good, and when it is renewed. Times are seconds since 1970.

use x509_parser::pem::parse_x509_pem;

/// An hour, by which certificates are backdated: clocks differ.
const BACKDATED: i64 = 3600;
const DAY: i64 = 24 * 3600;

/// How long an authority's certificate is good.
pub const AUTHORITY: Lifetime = Lifetime::of_days(5 * 365);
/// How long a broker's certificate is good.
pub const BROKER: Lifetime = Lifetime::of_days(90);
/// How long a user's certificate is good, unless its KafkaUser says otherwise.
pub const USER: Lifetime = Lifetime::of_days(365);

/// How long a certificate is good, and how long before its end it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// How long it is good, in seconds.
    pub length: i64,
    /// How long before its end it is renewed, in seconds.
    pub renewal: i64,
}

impl Lifetime {
    /// So many days, renewed in the last third.
    pub const fn of_days(days: i64) -> Lifetime {
        Lifetime { length: days * DAY, renewal: days * DAY / 3 }
    }

    /// What a KafkaUser says: `validityDays` and `renewalDays`.
    pub fn of_user(validity_days: Option<i32>, renewal_days: Option<i32>) -> Lifetime {
        let lifetime = validity_days.map_or(USER, |days| Lifetime::of_days(i64::from(days)));
        renewal_days.map_or(lifetime, |days| Lifetime { renewal: i64::from(days) * DAY, ..lifetime })
    }

    /// The validity of a certificate that is issued now.
    pub fn from(self, now: i64) -> Validity {
        Validity { not_before: now - BACKDATED, not_after: now + self.length }
    }
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: i64,
    /// Its last second.
    pub not_after: i64,
}

impl Validity {
    /// Of the first certificate in this text; `None`: there is none, or it makes no sense.
    pub fn of_pem(pem: &str) -> Option<Validity> {
        let (_, block) = parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = block.parse_x509().ok()?;
        let validity = certificate.validity();
        Some(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
    }

    /// Whether it is time for a new certificate. Also when the clock was set back behind its beginning.
    pub fn is_due(self, lifetime: Lifetime, now: i64) -> bool {
        now < self.not_before || now >= self.not_after - lifetime.renewal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_the_last_third_or_as_its_user_says() {
        let issued = 1_800_000_000;
        for (story, lifetime, day, is_due) in [
            ("new", BROKER, 0, false),
            ("two thirds but a day", BROKER, 59, false),
            ("two thirds", BROKER, 60, true),
            ("over", BROKER, 91, true),
            ("the user's own", Lifetime::of_user(Some(10), Some(1)), 8, false),
            ("the user's own renewal", Lifetime::of_user(Some(10), Some(1)), 9, true),
            ("the clock was set back", BROKER, -1, true),
        ] {
            let validity = lifetime.from(issued);
            assert_eq!(validity.is_due(lifetime, issued + day * DAY), is_due, "{story}");
        }
    }

    #[test]
    fn text_that_is_no_certificate_has_no_validity() {
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "nonsense"] {
            assert_eq!(Validity::of_pem(text), None, "{text}");
        }
    }
}
