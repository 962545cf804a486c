//! The share sessions of a broker and some members, driven by commands in plain words.

use ottla_share::*;
use ottla_wire::TopicIdPartition;
use uuid::Uuid;

/// Commands. A member is a name, `A`; its group is `g` unless it says `of h`. Partitions are `t-0,u-1`.
///
/// - `A fetches 0 [t-0,t-1] [forgets t-2] [acknowledging] [on 7]`: at this epoch; on a connection, else on that of its
///   name
/// - `A is answered 1: t-0 records, t-1 error, t-2 nothing`: of the request at this epoch; the rest is not named
/// - `A acknowledges 1`, `A closes`, `7 breaks`, `A breaks`
/// - `room for 2`: the limit of sessions; `count`
pub struct World {
    sessions: Sessions,
}

impl Default for World {
    fn default() -> Self {
        World { sessions: Sessions::new(2000) }
    }
}

impl ottla_stories::World for World {
    fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let option = |name: &str| {
            let index = words.iter().position(|word| *word == name)?;
            words.get(index + 1).copied()
        };
        let group = GroupId::from(option("of").unwrap_or("g"));
        let member = MemberId::from(words[0]);
        match words[..] {
            ["room", "for", limit] => {
                self.sessions = Sessions::new(number(limit) as usize);
                Vec::new()
            }
            ["count"] => {
                vec![format!("{} sessions, {} partitions", self.sessions.count(), self.sessions.partition_count())]
            }
            [name, "fetches", epoch, ..] => {
                let named = words.get(3).filter(|word| word.contains('-')).copied().unwrap_or("");
                let (named, forgotten) = (partitions(named), partitions(option("forgets").unwrap_or("")));
                let answer = self.sessions.fetch(&ShareFetch {
                    group: &group,
                    member: &member,
                    epoch: number(epoch),
                    connection: connection(option("on").unwrap_or(name)),
                    partitions: &named,
                    forgotten: &forgotten,
                    acknowledges: words.contains(&"acknowledging"),
                });
                vec![match answer {
                    Ok(Fetch::From(partitions)) => format!("from {}", show(&partitions)),
                    Ok(Fetch::Final) => "final".to_string(),
                    Err(error) => format!("{error:?}"),
                }]
            }
            [_, "is", "answered", epoch, ..] => {
                let (_, fetched) = line.split_once(':').expect("what was fetched");
                let fetched: Vec<Fetched> = fetched
                    .split(',')
                    .map(|text| {
                        let (name, found) = text.trim().split_once(' ').expect("what was found");
                        let partition = partitions(name)[0];
                        Fetched { partition, has_records: found == "records", has_error: found == "error" }
                    })
                    .collect();
                let epoch = number(epoch.trim_end_matches(':'));
                vec![match self.sessions.answer(&group, &member, epoch, &fetched) {
                    Ok(named) => {
                        let named = fetched.iter().zip(named).filter(|(_, named)| *named);
                        let named: Vec<TopicIdPartition> = named.map(|(fetched, _)| fetched.partition).collect();
                        format!("names {}", show(&named))
                    }
                    Err(error) => format!("{error:?}"),
                }]
            }
            [_, "acknowledges", epoch, ..] => {
                let answer = self.sessions.acknowledge(&group, &member, number(epoch));
                vec![answer.map_or_else(|error| format!("{error:?}"), |()| "ok".to_string())]
            }
            [_, "closes", ..] => {
                let answer = self.sessions.close(&group, &member);
                vec![answer.map_or_else(|error| format!("{error:?}"), |ended| over(&ended))]
            }
            [name, "breaks"] => self.sessions.disconnect(connection(name)).iter().map(over).collect(),
            ref other => panic!("{other:?} is no command"),
        }
    }
}

fn over(ended: &Ended) -> String {
    let left = if ended.group_has_left { "; the group has left" } else { "" };
    format!("releases {} of {} in {}{left}", ended.member, ended.group, show(&ended.partitions))
}

fn connection(name: &str) -> ConnectionId {
    ConnectionId(name.bytes().fold(0, |number, byte| number * 256 + u64::from(byte)))
}

fn partitions(names: &str) -> Vec<TopicIdPartition> {
    let names = names.split(',').filter(|name| !name.is_empty());
    let partition = |name: &str| {
        let (topic, partition) = name.split_once('-').expect("a topic and a partition");
        let topic_id = Uuid::from_u128(u128::from(topic.as_bytes()[0]));
        TopicIdPartition { topic_id, partition: number(partition) }
    };
    names.map(partition).collect()
}

fn show(partitions: &[TopicIdPartition]) -> String {
    let name = |partition: &TopicIdPartition| {
        let topic = char::from(partition.topic_id.as_u128() as u8);
        format!("{topic}-{}", partition.partition)
    };
    if partitions.is_empty() {
        "nothing".to_string()
    } else {
        partitions.iter().map(name).collect::<Vec<_>>().join(" ")
    }
}

fn number(text: &str) -> i32 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}
