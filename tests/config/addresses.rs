//! Addresses from other clients: every parameter is used, refused by name, or causes a warning.

use std::path::Path;

use secrecy::ExposeSecret;
use tikkun::config::BrokerEngine;

use super::{only_problem, postgres, with_env};

/// The address that the adapter gets, and what is said of the one that was given.
fn redis(url: &str) -> (String, Vec<String>) {
    let loaded = with_env(&[("REDIS_URL", url)]).unwrap_or_else(|error| panic!("{url}: {error}"));
    let BrokerEngine::Redis(redis) = &loaded.settings.broker.engine else { panic!("{url}") };
    let told = loaded.warnings.iter().map(|warning| warning.text.clone()).collect();
    (redis.url.expose_secret().to_owned(), told)
}

fn refusal(variable: &str, url: &str) -> String {
    let text = only_problem(with_env(&[(variable, url)]));
    assert!(text.contains(variable) && !text.contains("hunter2"), "{url}: {text}");
    text
}

/// A file of authorities, such as every system has.
fn authorities() -> String {
    let file = "/etc/ssl/certs/ca-certificates.crt";
    assert!(Path::new(file).is_file(), "{file}: install ca-certificates");
    file.to_owned()
}

#[test]
fn redis_addresses_mean_what_they_mean_to_redis_py() {
    let table = [
        ("redis://h", "redis://h:6379/0"),
        ("redis://", "redis://localhost:6379/0"),
        ("redis://h/3", "redis://h:6379/3"),
        ("redis://h/3/", "redis://h:6379/3"),
        ("redis://h?db=2", "redis://h:6379/2"),
        ("redis://h/3?db=2", "redis://h:6379/2"),
        ("redis://h/3?db=", "redis://h:6379/3"),
        ("redis://h?db=2&db=5", "redis://h:6379/2"),
        ("redis://:hunter2@h:1/0", "redis://:hunter2@h:1/0"),
        ("redis://:hunter2@/1", "redis://:hunter2@localhost:6379/1"),
        ("redis://u@h", "redis://u:@h:6379/0"),
        ("redis://u:hun%2Fter2@h", "redis://u:hun%2Fter2@h:6379/0"),
        ("redis://h?username=u&password=hunter2", "redis://u:hunter2@h:6379/0"),
        ("redis://h?password=hun%252Fter2", "redis://:hun%2Fter2@h:6379/0"),
        ("redis://a:b@h?username=u&password=hunter2", "redis://a:b@h:6379/0"),
        ("redis:///4?host=other&port=7", "redis://other:7/4"),
        ("redis://h:1?host=other&port=7", "redis://h:1/0"),
        ("redis://[::1]:7", "redis://[::1]:7/0"),
        ("redis://h?protocol=2", "redis://h:6379/0"),
        ("unix:///run/r.sock", "redis+unix:///run/r%2Esock?db=0"),
        ("unix:///run/r.sock?db=2&password=hunter2", "redis+unix:///run/r%2Esock?db=2&pass=hunter2"),
        ("unix://:hunter2@/r", "redis+unix:///r?db=0&pass=hunter2"),
        ("unix://u:hun%25ter2@/r?db=1", "redis+unix:///r?db=1&user=u&pass=hun%25ter2"),
        ("redis+unix:///r?user=u&pass=p", "redis+unix:///r?db=0&user=u&pass=p"),
        ("rediss://h:1/2", "rediss://h:1/2"),
        ("rediss://h?ssl_cert_reqs=required&ssl_check_hostname=True", "rediss://h:6379/0"),
    ];
    for (given, expected) in table {
        assert_eq!(redis(given), (expected.to_owned(), Vec::new()), "{given}");
    }
}

#[test]
fn redis_addresses_with_less_protection_say_so() {
    for (given, expected, words) in [
        (
            "rediss://h?ssl_cert_reqs=none",
            "rediss://h:6379/0#insecure",
            "does not check the server's certificate",
        ),
        ("rediss://h?ssl_check_hostname=no", "rediss://h:6379/0?ssl_check_hostname=false", "the name in"),
    ] {
        let (url, told) = redis(given);
        assert_eq!(url, expected);
        assert!(told[0].contains(words), "{told:?}");
    }
}

#[test]
fn parameters_that_redis_py_knows_and_nothing_depends_on_are_passed_over_with_a_warning() {
    for name in [
        "client_name",
        "socket_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "retry_on_timeout",
        "max_connections",
        "health_check_interval",
        "decode_responses",
        "encoding",
        "protocol",
        "somebody_elses",
    ] {
        let (url, told) = redis(&format!("redis://h/2?{name}=3"));
        assert_eq!(url, "redis://h:6379/2");
        assert!(told[0].contains(&format!("says `{name}`, which means nothing here")), "{told:?}");
    }
}

#[test]
fn redis_addresses_that_cannot_be_kept_are_refused_by_name() {
    for (url, words) in [
        ("redis://:hunter2@h/x", "expected the database to be a number"),
        ("redis://:hunter2@h?db=x", "expected the database to be a number"),
        ("redis://:hunter2@h?DB=2", "`DB` is no parameter; did you mean `db`?"),
        ("redis://:hunter2@h?database=2", "`database` is no parameter"),
        ("redis://:hunter2@h?Password=hunter2", "did you mean `password`"),
        ("redis://h?ssl_cert_reqs=required", "`ssl_cert_reqs` asks for TLS, which begins with `rediss://`"),
        ("unix:///r?ssl_ca_certs=/x", "asks for TLS"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "expected `ssl_cert_reqs` to be"),
        ("rediss://h?SSL_CERT_REQS=required", "did you mean `ssl_cert_reqs`"),
        ("rediss://h?ssl_ca_certs=/nowhere.pem", "`ssl_ca_certs`: the file /nowhere.pem cannot be used"),
        ("rediss://h?ssl_certfile=/nowhere.pem", "`ssl_certfile`: the file /nowhere.pem"),
        ("rediss://h?ssl_keyfile=/nowhere.pem", "needs `ssl_certfile`"),
        ("rediss://h?ssl_ca_path=/etc", "`ssl_ca_path` is not supported"),
        ("rediss://h?ssl_password=hunter2", "`ssl_password` is not supported"),
        ("rediss://h?ssl_min_version=3", "`ssl_min_version` is not supported"),
        ("redis://h?ssl=true", "`ssl` is not supported"),
        ("redis://:p#hunter2@h", "expected"),
        ("redis://h/0#insecure", "nothing may follow a `#`"),
        ("redis://:hun\nter2@h", "in one line"),
        ("\"redis://:hunter2@h\"", "`docker --env-file` does not take them off"),
    ] {
        let text = refusal("REDIS_URL", url);
        assert!(text.contains(words), "{url}: {text}");
    }
}

#[test]
fn postgres_addresses_mean_what_they_mean_to_libpq() {
    let file = authorities();
    let table = [
        ("/d?ssl=true".to_owned(), "/d?sslmode=require".to_owned()),
        ("/d?sslmode=disable&sslrootcert=/nowhere".to_owned(), "/d?sslmode=disable".to_owned()),
        ("/d?sslmode=verify-full".to_owned(), "/d?sslmode=verify-full".to_owned()),
        ("/d?sslrootcert=system".to_owned(), "/d?sslmode=verify-full".to_owned()),
        ("/d?sslmode=verify-full&sslrootcert=system".to_owned(), "/d?sslmode=verify-full".to_owned()),
        // libpq checks the certificate once it has something to check it with.
        (
            format!("/d?sslmode=require&sslrootcert={file}"),
            format!("/d?sslmode=verify-ca&sslrootcert={file}"),
        ),
        ("/d?host=other%3A6432".to_owned(), "/d?host=other&port=6432".to_owned()),
        ("/d?host=name&hostaddr=10.0.0.7".to_owned(), "/d?hostaddr=10.0.0.7".to_owned()),
        (
            "/d?channel_binding=prefer&gssencmode=disable&target_session_attrs=read-write".to_owned(),
            "/d".to_owned(),
        ),
        ("/d?passfile=&sslcert=".to_owned(), "/d".to_owned()),
        ("/d?application_name=a&application_name=b".to_owned(), "/d?application_name=b".to_owned()),
    ];
    for (given, expected) in table {
        let (loaded, settings) = postgres(&format!("postgresql://h{given}"));
        let url = settings.url.expose_secret().replace("%2F", "/");
        assert_eq!(url, format!("postgres://h{expected}"), "{given}");
        assert!(loaded.warnings.is_empty(), "{given}: {:?}", loaded.warnings);
    }
    let (_, settings) = postgres("postgres://h:1/d?host=other&port=2&dbname=e&user=u&password=hunter2");
    assert_eq!(settings.place, "other:2/e");
}

#[test]
fn variables_of_libpq_count_where_the_address_says_nothing() {
    let with = |url: &str, name: &str, value: &str| with_env(&[("DATABASE_URL", url), (name, value)]);
    for value in ["verify-ful", "VERIFY-FULL"] {
        let text = only_problem(with("postgres://h/d", "PGSSLMODE", value));
        assert!(text.contains("PGSSLMODE"), "{text}");
    }
    let text = only_problem(with("postgres://h/d", "PGSSLROOTCERT", "/nowhere.pem"));
    assert!(text.contains("/nowhere.pem"), "{text}");
    let text = only_problem(with("postgres://h/d", "PGCHANNELBINDING", "require"));
    assert!(text.contains("channel_binding=require"), "{text}");
    with("postgres://h/d?sslmode=disable", "PGSSLMODE", "verify-full").unwrap();
}

#[test]
fn postgres_addresses_that_cannot_be_kept_are_refused_by_name() {
    let file = authorities();
    let table = [
        ("?SSLMODE=verify-full".to_owned(), "`SSLMODE` is no parameter; did you mean `sslmode`?"),
        ("?sslmode=VERIFY-FULL".to_owned(), "expected `sslmode`"),
        ("?sslmode=".to_owned(), "expected `sslmode`"),
        ("?ssl-mode=require".to_owned(), "did you mean `sslmode`"),
        ("?sslmod=require".to_owned(), "did you mean `sslmode`"),
        ("?hostname=other".to_owned(), "`hostname` is no parameter"),
        ("?channel_binding=require".to_owned(), "`channel_binding=require` is not supported"),
        ("?gssencmode=require".to_owned(), "`gssencmode=require`"),
        ("?require_auth=scram-sha-256".to_owned(), "`require_auth=scram-sha-256`"),
        ("?target_session_attrs=standby".to_owned(), "`target_session_attrs=standby`"),
        ("?ssl_min_protocol_version=TLSv1.3".to_owned(), "`ssl_min_protocol_version=TLSv1.3`"),
        ("?sslpassword=hunter2".to_owned(), "`sslpassword` is not supported"),
        ("?passfile=/x".to_owned(), "`passfile` is not supported"),
        ("?service=db".to_owned(), "`service=db`"),
        ("?host=a,b".to_owned(), "expected one host"),
        ("?host=a&host=b".to_owned(), "expected one host"),
        ("?port=1,2".to_owned(), "expected one host"),
        ("?port=x".to_owned(), "expected `port`"),
        ("?sslmode=verify-full&hostaddr=10.0.0.7".to_owned(), "`hostaddr` cannot stand beside"),
        ("?sslmode=require&sslrootcert=system".to_owned(), "expected `sslmode=verify-full`"),
        ("?sslrootcert=/nowhere.pem".to_owned(), "`sslrootcert`: the file /nowhere.pem cannot be used"),
        ("?sslcert=/nowhere.pem&sslkey=/x".to_owned(), "`sslcert`: the file /nowhere.pem"),
        (format!("?sslcert={file}&sslkey={file}"), "expected a private key in PEM"),
        (format!("?sslcert={file}"), "expected `sslcert` and `sslkey` together"),
        ("#x".to_owned(), "expected `postgres://user:password@host"),
    ];
    for (query, words) in table {
        let text = refusal("DATABASE_URL", &format!("postgres://u:hunter2@h/d{query}"));
        assert!(text.contains(words), "{query}: {text}");
    }
    let text = refusal("DATABASE_URL", "postgres://u:hunter2@one,two/d");
    assert!(text.contains("expected one host"), "{text}");
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_a_problem_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for file in ["/nowhere.pem", empty.to_str().unwrap()] {
        let text = only_problem(with_env(&[("TIKKUN_TLS__CA_FILE", file)]));
        assert!(text.starts_with("`tls.ca_file` (from env TIKKUN_TLS__CA_FILE): the file"), "{text}");
        assert!(text.contains(file) && text.contains("expected certificates in PEM"), "{text}");
    }
    let env = [
        ("TIKKUN_TLS__CA_FILE", authorities()),
        ("REDIS_URL", "rediss://h".to_owned()),
        ("DATABASE_URL", "postgres://h/d?sslmode=verify-full".to_owned()),
    ];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let settings = with_env(&env).unwrap().settings;
    let tikkun::config::StoreEngine::Postgres(store) = &settings.store.engine else { panic!() };
    let BrokerEngine::Redis(broker) = &settings.broker.engine else { panic!() };
    assert!(store.url.expose_secret().contains("sslrootcert="), "the database trusts it");
    assert!(broker.url.expose_secret().contains("ssl_ca_certs="), "and so does the queue");
}

/// A bucket of R2.
const R2: [(&str, &str); 5] = [
    ("ATTACHMENT_STORAGE_DRIVER", "r2"),
    ("R2_ACCOUNT_ID", "abc"),
    ("R2_BUCKET_NAME", "b"),
    ("R2_ACCESS_KEY_ID", "id"),
    ("R2_SECRET_ACCESS_KEY", "hunter2"),
];

#[test]
fn the_way_to_a_bucket_leads_through_the_proxy_of_its_scheme() {
    let proxy = |more: &[(&str, &str)]| {
        let loaded = with_env(&[&R2[..], more].concat()).unwrap();
        assert!(!format!("{loaded:?}").contains("hunter2"), "a password shows");
        loaded.settings.attachments.proxy
    };
    assert!(proxy(&[]).is_none() && proxy(&[("HTTP_PROXY", "http://p:1")]).is_none());
    let found = proxy(&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "a.example, .b.example")]).unwrap();
    assert_eq!(found.url, "http://p:1/");
    assert!(found.except.starts_with("a.example,.b.example,169.254."), "{}", found.except);
    let found = proxy(&[("https_proxy", "http://u:hunter2@q:2"), ("HTTPS_PROXY", "http://p:1")]).unwrap();
    assert_eq!((found.url.as_str(), found.login.unwrap().0.as_str()), ("http://q:2/", "u"));
    let plain = [("R2_ENDPOINT", "http://e.example"), ("HTTP_PROXY", "http://p:1")];
    assert_eq!(proxy(&plain).unwrap().url, "http://p:1/");
    assert_eq!(proxy(&[("ALL_PROXY", "http://p:1")]).unwrap().url, "http://p:1/");
    assert!(proxy(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "*")]).is_none());
    let text = only_problem(with_env(&[&R2[..], &[("HTTPS_PROXY", "socks5://u:hunter2@p")]].concat()));
    assert!(text.starts_with("HTTPS_PROXY is `socks5://u:***@p`, expected `http://host:port`"), "{text}");
    with_env(&[("HTTPS_PROXY", "socks5://p")]).unwrap();
}

#[test]
fn webhooks_go_through_the_proxy_of_the_scheme_and_one_that_cannot_be_used_is_a_warning() {
    let load = |more: &[(&str, &str)]| {
        let loaded = with_env(more).unwrap();
        assert!(!format!("{loaded:?}").contains("hunter2"), "a password shows");
        let warnings: Vec<_> = loaded.warnings.into_iter().map(|warning| warning.text).collect();
        let proxies = loaded.settings.webhook_proxies;
        (proxies.http.map(|proxy| proxy.url), proxies.https.map(|proxy| proxy.url), warnings)
    };
    let (http, https, _) = load(&[("HTTP_PROXY", "http://u:hunter2@p:1"), ("https_proxy", "q:2")]);
    assert_eq!((http.as_deref(), https.as_deref()), (Some("http://p:1/"), Some("http://q:2/")));
    let (http, https, _) = load(&[("ALL_PROXY", "http://p:1")]);
    assert_eq!((http, https), (None, None), "urllib reads it for no address");
    let (_, https, warnings) = load(&[("HTTPS_PROXY", "socks5://u:hunter2@p")]);
    let said = warnings.iter().find(|text| text.starts_with("HTTPS_PROXY is `socks5://u:***@p`"));
    assert!(
        https.is_none() && said.is_some_and(|text| text.ends_with("webhooks are sent without it")),
        "{warnings:?}"
    );
}
