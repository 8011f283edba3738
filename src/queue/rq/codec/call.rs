//! A job's `data`: the function and its arguments.

use serde_json::{Map, Value};

use super::limits::Limits;
use super::refusal::{Refusal, shown};
use super::serializer::Serializer;
use super::{pickle, zlib};
use crate::job::exact::Exact;
use crate::job::{Args, ArgsError, KindName};

/// A decoded call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub kind: KindName,
    /// Its arguments; values that JSON lacks have [tags](crate::job::exact).
    pub args: Args,
    /// The serializer that wrote it, and must write the result.
    pub serializer: Serializer,
}

/// A call that could not be decoded, with the parts that could be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct CallError {
    /// The function, if it was read before the error.
    pub kind: Option<KindName>,
    /// The serializer that wrote it, if known.
    pub serializer: Option<Serializer>,
    /// The error.
    pub error: ArgsError,
}

/// Decodes `data`.
///
/// # Errors
/// When it exceeds the limits, is neither a pickle nor JSON, contains anything but plain values, or is no
/// call of a plain function.
pub fn decode_call(data: &[u8], limits: &Limits) -> Result<Call, CallError> {
    let failed = |refusal: Refusal| failure(data, None, None, &refusal);
    if data.len() > limits.stored {
        return Err(failed(Refusal::new(format!("the limit is {} bytes", limits.stored))));
    }
    let plain = zlib::expand(data, limits.plain).map_err(failed)?;
    let unknown = || Refusal::new("it is neither a pickle of protocol 2 or later nor JSON");
    let serializer = Serializer::detect(&plain).ok_or_else(|| failed(unknown()))?;
    let read = match serializer {
        Serializer::Pickle => pickle::read(&plain, limits).map_err(|stopped| {
            failure(data, stopped.first_text, Some(serializer), &stopped.refusal.of_call())
        })?,
        Serializer::Json => serializer
            .read(&plain, limits)
            .map_err(|refusal| failure(data, None, Some(serializer), &refusal))?,
    };
    call(read, serializer).map_err(|(name, refusal)| failure(data, name, Some(serializer), &refusal))
}

/// Encodes a call as `data`.
///
/// # Errors
/// When the arguments are nested too deeply.
pub fn encode_call(kind: &KindName, args: &Args, serializer: Serializer) -> Result<Vec<u8>, ArgsError> {
    let exact = || {
        let positional = args.positional.iter().map(Exact::of).collect::<Result<_, _>>()?;
        Ok(Exact::Tuple(vec![
            Exact::Str(kind.as_str().to_owned()),
            Exact::None,
            Exact::Tuple(positional),
            Exact::of_object(&args.named)?,
        ]))
    };
    let told =
        |error: crate::job::exact::TooDeep| ArgsError::undecodable(args.to_string(), error.to_string());
    Ok(zlib::compress(&serializer.write(&exact().map_err(told)?)))
}

/// Splits a call into its four parts.
fn call(read: Exact, serializer: Serializer) -> Result<Call, (Option<String>, Refusal)> {
    let shape = || Refusal::new("it is no call: expected function, instance, arguments, named arguments");
    let (Exact::Tuple(parts) | Exact::List(parts)) = read else { return Err((None, shape())) };
    let Ok([function, instance, positional, named]) = <[Exact; 4]>::try_from(parts) else {
        return Err((None, shape()));
    };
    let Exact::Str(name) = function else { return Err((None, shape())) };
    let args = match (instance, positional, named) {
        (Exact::None, Exact::Tuple(positional) | Exact::List(positional), Exact::Dict(named)) => {
            arguments(positional, named)
        }
        (Exact::None, ..) => Err(shape()),
        _ => Err(Refusal::new(format!(
            "`{}` is a method of an object that was stored with it; enqueue a plain function",
            shown(&name)
        ))),
    };
    match args {
        Ok(args) => Ok(Call { kind: KindName::from(name), args, serializer }),
        Err(refusal) => Err((Some(name), refusal)),
    }
}

fn arguments(positional: Vec<Exact>, pairs: Vec<(Exact, Exact)>) -> Result<Args, Refusal> {
    let mut named = Map::<String, Value>::new();
    for (key, value) in pairs {
        let Exact::Str(key) = key else {
            return Err(Refusal::new("a named argument has a name that is no text"));
        };
        named.insert(key, value.into_value());
    }
    Ok(Args { positional: positional.into_iter().map(Exact::into_value).collect(), named })
}

fn failure(
    data: &[u8],
    name: Option<String>,
    serializer: Option<Serializer>,
    refusal: &Refusal,
) -> CallError {
    let form = serializer.map_or("data", Serializer::name);
    let given = match &name {
        Some(name) => format!("of `{}` ({} bytes of {form})", shown(name), data.len()),
        None => format!("({} bytes of {form})", data.len()),
    };
    CallError {
        kind: name.map(KindName::from),
        serializer,
        error: ArgsError::undecodable(given, refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn decode(data: &[u8]) -> Result<Call, CallError> {
        decode_call(data, &Limits::default())
    }

    #[test]
    fn the_call_of_the_specification_is_read_in_each_of_its_forms() {
        let call = Call {
            kind: "pkg.mod.func".into(),
            args: Args::positional([json!(27)]),
            serializer: Serializer::Pickle,
        };
        let stored =
            hex("789c6b609d2ac500011a3d3c05d9e97ab9f9297a69a579c953fcbca55ba7d44e2999a20700a8c90b27");
        assert_eq!(decode(&stored).unwrap(), call);
        let by_hand = [&hex("8004288c0c")[..], b"pkg.mod.func", &hex("4e284b1b747d2875742e")[..]].concat();
        assert_eq!(decode(&by_hand).unwrap(), call, "raw bytes are read too");
        let json = Call { serializer: Serializer::Json, ..call.clone() };
        assert_eq!(decode(br#"["pkg.mod.func", null, [27], {}]"#).unwrap(), json);
        for call in [call, json] {
            let data = encode_call(&call.kind, &call.args, call.serializer).unwrap();
            assert_eq!(decode(&data).unwrap(), call);
        }
    }

    #[test]
    fn a_class_of_the_applications_own_is_refused_with_the_argument_that_holds_it() {
        // Pickles of protocols 2 and 5 with an object: in a list, a dictionary, with named arguments, an
        // instance.
        for (payload, argument, class) in [
            (
                "8002285801000000664e4b015d636170702e6d6f64656c730a557365720a29817d580200000069644b07736261867d742e",
                "argument 2: ",
                "app.models.User",
            ),
            (
                "8005952b00000000000000288c01664e4b015d8c0a6170702e6d6f64656c738c04557365729329817d8c0269644b07736261867d742e",
                "argument 2: ",
                "app.models.User",
            ),
            (
                "8002285801000000664e297d580300000077686f7d580100000061636170702e6d6f64656c730a557365720a29817d580200000069644b0773627373742e",
                "argument `who`: ",
                "app.models.User",
            ),
            (
                "8005953200000000000000288c01664e297d8c0377686f7d8c01618c0a6170702e6d6f64656c738c04557365729329817d8c0269644b0773627373742e",
                "argument `who`: ",
                "app.models.User",
            ),
            (
                "8005953100000000000000288c01664e4b014b028c0a6170702e6d6f64656c738c0654616767656493297d8c01614b0173928c01784b0173877d742e",
                "argument 3: ",
                "app.models.Tagged",
            ),
            (
                "8005952600000000000000288c01668c0a6170702e6d6f64656c738c04557365729329817d8c0269644b077362297d742e",
                "",
                "app.models.User",
            ),
        ] {
            let told = decode(&hex(payload)).unwrap_err();
            assert_eq!(told.kind, Some("f".into()));
            assert!(told.to_string().contains(&format!("{argument}it holds `{class}`, and only")), "{told}");
        }
    }

    #[test]
    fn a_zone_that_is_not_known_is_refused_with_the_argument_that_is_in_it() {
        let told = decode(&hex(
            "8004958500000000000000288c036d2e66944e4b018c086461746574696d65948c086461746574696d65949394430a07ea06010c000\
             0000000948c086275696c74696e73948c07676574617474729493948c087a6f6e65696e666f948c085a6f6e65496e666f9493948c09\
             5f756e7069636b6c6594869452948c03585858944b01869452948694529486947d9474942e",
        ));
        let told = told.unwrap_err().to_string();
        assert!(told.contains("argument 2: it holds a datetime in zoneinfo.ZoneInfo(\"XXX\")"), "{told}");
    }

    #[test]
    fn a_method_is_refused_by_name() {
        let told = decode(br#"["run", {"a": 1}, [], {}]"#).unwrap_err();
        assert_eq!(told.kind, Some("run".into()));
        assert!(told.to_string().contains("`run` is a method of an object"), "{told}");
    }

    #[test]
    fn what_is_no_call_is_told_without_its_bytes() {
        for (data, part) in [
            (&b"garbage"[..], "neither a pickle"),
            (b"", "neither a pickle"),
            (b"\x78\x9c\x00", "cut off"),
            (b"[1, null, [], {}]", "no call"),
            (b"[\"f\", null, []]", "no call"),
            (b"{}", "no call"),
            (b"[\"f\", null, 5, {}]", "no call"),
            (b"(S'f'\nNt.", "protocol 2 or later"),
        ] {
            let told = decode(data).unwrap_err().to_string();
            assert!(told.contains(part) && told.len() < 300, "{data:?}: {told}");
        }
    }

    #[test]
    fn a_payload_that_is_too_long_is_not_looked_into() {
        let limits = Limits { stored: 10, ..Limits::default() };
        let told = decode_call(&[b'['; 11], &limits).unwrap_err().to_string();
        assert_eq!(told, "cannot read the arguments (11 bytes of data): the limit is 10 bytes");
    }
}
