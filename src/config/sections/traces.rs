//! OpenTelemetry's own variables, as far as they decide whether spans are exported.
//!
//! OpenTelemetry's library reads the others (endpoint, interval, sampling).

use crate::config::problem::Warning;

/// The variables with the collector's endpoint; the first is for spans alone.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The variables with the protocol; the first is for spans alone.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// The only supported protocol.
const PROTOCOL: &str = "http/protobuf";

/// The settings for spans, from the environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceSettings {
    /// Whether spans are exported, if the build supports it.
    pub export: bool,
    /// Whether the environment sets the service's name.
    pub named: bool,
}

impl TraceSettings {
    /// Spans are exported if a collector is named or `otlp` is asked for, unless the SDK is disabled.
    pub(in crate::config) fn read(env: &[(String, String)], warnings: &mut Vec<Warning>) -> Self {
        let given = |name: &str| {
            let found = env.iter().find(|(known, value)| known == name && !value.trim().is_empty());
            found.map(|(_, value)| value.trim())
        };
        let off = given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let export = match given("OTEL_TRACES_EXPORTER") {
            Some("otlp") => !off,
            Some("none") => false,
            Some(other) => {
                warnings.push(Warning::warn(format!(
                    "OTEL_TRACES_EXPORTER is `{other}`, expected `otlp` or `none`; spans are not exported"
                )));
                false
            }
            None => !off && ENDPOINTS.into_iter().any(|name| given(name).is_some()),
        };
        let protocol = PROTOCOLS.into_iter().find_map(|name| Some((name, given(name)?)));
        if let Some((name, other)) = protocol.filter(|(_, value)| export && *value != PROTOCOL) {
            warnings.push(Warning::warn(format!(
                "{name} is `{other}`, and spans go out as `{PROTOCOL}` alone; name the collector's endpoint for that, \
                 as http://collector:4318"
            )));
        }
        if export && !cfg!(feature = "opentelemetry") {
            warnings.push(Warning::warn(
                "the environment asks for spans to be exported, and this build cannot; build it with \
                 `--features opentelemetry`, or set OTEL_SDK_DISABLED=true",
            ));
        }
        let attributes = given("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let names = |pair: &str| pair.split('=').next().is_some_and(|key| key.trim() == "service.name");
        let named = given("OTEL_SERVICE_NAME").is_some() || attributes.split(',').any(names);
        Self { export, named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &[(&str, &str)]) -> (TraceSettings, Vec<String>) {
        let env: Vec<_> = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut warnings = Vec::new();
        let read = TraceSettings::read(&env, &mut warnings);
        (read, warnings.into_iter().map(|warning| warning.text).collect())
    }

    #[test]
    fn spans_go_where_a_collector_is_named_unless_they_are_turned_off() {
        let (endpoint, traces) = (ENDPOINTS[1], ENDPOINTS[0]);
        let table: [(&[(&str, &str)], bool); 9] = [
            (&[], false),
            (&[(endpoint, "http://c:4318")], true),
            (&[(endpoint, " ")], false),
            (&[(traces, "http://c:4318/v1/traces")], true),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
            (&[("OTEL_TRACES_EXPORTER", "none"), (endpoint, "http://c:4318")], false),
            (&[("OTEL_TRACES_EXPORTER", "zipkin"), (endpoint, "http://c:4318")], false),
            (&[("OTEL_SDK_DISABLED", "TRUE"), (endpoint, "http://c:4318")], false),
            (&[("OTEL_SDK_DISABLED", "false"), (endpoint, "http://c:4318")], true),
        ];
        for (env, expected) in table {
            assert_eq!(read(env).0.export, expected, "{env:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let collector = (ENDPOINTS[1], "http://c:4317");
        let (_, told) = read(&[collector, (PROTOCOLS[1], "grpc")]);
        assert!(
            told.iter().any(|text| text.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`")),
            "{told:?}"
        );
        let (_, told) = read(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
        assert!(told.iter().any(|text| text.starts_with("OTEL_TRACES_EXPORTER is `zipkin`")), "{told:?}");
        assert_eq!(read(&[(PROTOCOLS[1], "grpc")]).1, Vec::<String>::new());
        let (_, told) = read(&[collector]);
        let said = told.iter().any(|text| text.contains("--features opentelemetry"));
        assert_eq!(said, !cfg!(feature = "opentelemetry"), "{told:?}");
    }

    #[test]
    fn a_name_comes_from_either_variable() {
        assert!(!read(&[]).0.named);
        assert!(read(&[("OTEL_SERVICE_NAME", "jobs")]).0.named);
        assert!(read(&[("OTEL_RESOURCE_ATTRIBUTES", "env=prod, service.name=jobs")]).0.named);
        assert!(!read(&[("OTEL_RESOURCE_ATTRIBUTES", "service.names=jobs")]).0.named);
    }
}
