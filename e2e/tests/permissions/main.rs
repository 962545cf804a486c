//! What users with few rights are answered, and how exchanges of SCRAM end: as by Apache Kafka with its
//! StandardAuthorizer, field by field. The answers are recorded beside this file; see `ottla_e2e::answers`.

mod bed;
mod exchanges;

mod row;
mod rows;

use std::collections::BTreeMap;

use anyhow::Result;
use ottla_e2e::answers::agrees;

use bed::{Bed, Me, PRINCIPALS};

/// Every API, asked by each principal for resources of its own: one that exists and one that does not. Principals that
/// get the same answer share a line.
#[test]
fn each_principal_is_answered_as_by_kafka() -> Result<()> {
    let Some(bed) = Bed::shared()? else { return Ok(()) };
    let principals: Vec<Me> = PRINCIPALS.iter().map(|principal| bed.principal(principal)).collect::<Result<_>>()?;
    let mut said = String::new();
    let mut connections: Vec<_> = principals.iter().map(|me| bed.login(me.name)).collect::<Result<_>>()?;
    for row in rows::table() {
        let mut answers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (me, connection) in principals.iter().zip(&mut connections) {
            let answer = (row.ask)(connection, me)?;
            if answer.is_none() {
                *connection = bed.login(me.name)?;
            }
            let answer = answer.map_or("the broker closed the connection".to_owned(), |answer| me.normalised(&answer));
            answers.entry(answer).or_default().push(me.name);
        }
        said += &format!("== {}\n", row.title);
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.sort_by_key(|(_, names)| PRINCIPALS.iter().position(|principal| principal.name == names[0]));
        for (answer, names) in answers {
            said += &format!("{}:\n    {answer}\n", names.join(", "));
        }
        said += "\n";
    }
    agrees("permissions/answers.txt", &said, bed.maker())
}
