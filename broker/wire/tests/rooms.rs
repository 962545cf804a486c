//! Which room of the wire may use which, top to bottom.

use ottla_arrows::Rooms;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table = Rooms {
        leaves: &["codec", "decoder", "encoder", "error_code", "frame", "leader"],
        rooms: &[
            ("arbitrary", &[]),
            ("compatibility", &["m18_api_versions", "message"]),
            ("consumer_protocol", &[]),
            ("consumer_group_records", &[]),
            ("coordinator_records", &["consumer_group_records", "share_group_records", "streams_group_records"]),
            ("share_group_records", &[]),
            ("share_state_records", &["m84_read_share_group_state"]),
            ("streams_group_records", &[]),
            ("transaction_records", &[]),
            ("m18_api_versions", &["message"]),
            ("m49_alter_client_quotas", &["m48_describe_client_quotas"]),
            ("m79_share_acknowledge", &["m78_share_fetch"]),
            ("m85_write_share_group_state", &["m84_read_share_group_state"]),
            ("m89_streams_group_describe", &["m88_streams_group_heartbeat"]),
            ("message", &["root"]),
            ("m*", &[]),
        ],
        ..Rooms::default()
    };
    table.check(env!("CARGO_MANIFEST_DIR"));
}
