//! Where the state of a share partition has its place: the key whose hash chooses the partition of
//! `__share_group_state` (Kafka's `SharePartitionKey`).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ottla_group::GroupId;
use ottla_group::share_state::SharePartition;
use uuid::Uuid;

/// `group:topic id:partition`, the id as Kafka writes it.
pub(crate) fn of(SharePartition { group, topic_id, partition }: &SharePartition) -> String {
    format!("{group}:{}:{partition}", BASE64_URL_SAFE_NO_PAD.encode(topic_id))
}

/// What a key stands for; `None` if it is no key. The group's id may have colons.
pub(crate) fn parse(key: &str) -> Option<SharePartition> {
    let mut parts = key.rsplitn(3, ':');
    let (partition, topic_id, group) = (parts.next()?, parts.next()?, parts.next()?);
    let topic_id = BASE64_URL_SAFE_NO_PAD.decode(topic_id).ok()?;
    Some(SharePartition {
        group: Some(GroupId::from(group)).filter(|_| !group.trim().is_empty())?,
        topic_id: Uuid::from_slice(&topic_id).ok()?,
        partition: partition.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_its_share_partition() {
        let topic_id = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        for (group, partition, key) in
            [("g", 0, "g:AQIDBAUGBwgJCgsMDQ4PEA:0"), ("a:b", 17, "a:b:AQIDBAUGBwgJCgsMDQ4PEA:17")]
        {
            let place = SharePartition { group: group.into(), topic_id, partition };
            assert_eq!(of(&place), key);
            assert_eq!(parse(key), Some(place));
        }
        for wrong in ["", "g", "g:0", "g:AQ:0", " :AQIDBAUGBwgJCgsMDQ4PEA:0", "g:AQIDBAUGBwgJCgsMDQ4PEA:x"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
