//! What Python wrote, changed at random.

use super::super::{decode_call, decode_exc, decode_meta, decode_result, encode_call, zlib};
use super::chance::{fixture, tight};
use crate::fuzz::fuzz;

/// A call that is read can be written, and is read again unchanged; a refusal is one line.
fn reads_as_a_call(data: &[u8]) {
    match decode_call(data, &tight()) {
        Ok(call) => {
            let again = encode_call(&call.kind, &call.args, call.serializer).unwrap();
            assert_eq!(decode_call(&again, &tight()).unwrap().args, call.args);
        }
        Err(refused) => assert_eq!(refused.to_string().lines().count(), 1, "{refused}"),
    }
}

#[test]
fn fuzz_calls() {
    let json = [
        r#"["shop.tasks.send", null, [7, "a", {"b": [1.5, true, null]}], {"late": false}]"#,
        r#"["tikkun.noop", null, [], {}]"#,
        r#"["a.b", null, [{"$decimal": "1.50"}, {"$bytes": "AAE="}], {"when": {"$datetime": "2026-01-01T00:00:00"}}]"#,
    ];
    let json = json.map(|text| text.as_bytes().to_vec());
    let pickles = fixture().into_iter().flat_map(|pickle| [zlib::compress(&pickle), pickle]);
    fuzz("calls", pickles.chain(json), reads_as_a_call);
}

#[test]
fn fuzz_results() {
    let texts = [
        "gAWVDAAAAAAAAACMCGZpbmlzaGVklC4=",
        "{\"a\": [1, 2]}",
        "eJwDAAAAAAE=",
        "Traceback\n  File \"x\"\nValueError: bad",
    ];
    fuzz("results", texts.map(|text| text.as_bytes().to_vec()), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (decode_result(&text, &tight()), decode_exc(&text, &tight()), decode_meta(bytes, &tight()));
    });
}
