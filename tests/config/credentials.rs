//! Credentials as files, editors and `docker --env-file` leave them, and names that look like leftovers.

use secrecy::ExposeSecret;

use super::{only_problem, problems, with_env};

fn warnings(env: &[(&str, &str)]) -> Vec<String> {
    with_env(env).unwrap().warnings.into_iter().map(|warning| warning.text).collect()
}

#[test]
fn blanks_at_the_ends_of_a_credential_are_left_out_with_a_warning() {
    let table = [
        "INTERNAL_SECRET",
        "R2_ACCESS_KEY_ID",
        "R2_SECRET_ACCESS_KEY",
        "TIKKUN_ATTACHMENTS__S3_ACCESS_KEY_ID",
    ];
    for name in table {
        for text in [
            "a-long-key-of-32-letters-or-more\n",
            " a-long-key-of-32-letters-or-more\r\n",
            "a-long-key-of-32-letters-or-more ",
        ] {
            let loaded = with_env(&[(name, text)]).unwrap();
            let attachments = &loaded.settings.attachments;
            let secrets = [
                loaded.settings.http.internal_secret.as_ref(),
                Some(&attachments.r2.access_key_id),
                Some(&attachments.r2.secret_access_key),
                Some(&attachments.s3.access_key_id),
            ];
            let kept = secrets.into_iter().flatten().any(|secret| secret.expose_secret() == text.trim());
            assert!(kept, "{name}");
            let told = &loaded.warnings[0].text;
            assert!(told.contains(name) && told.contains("which are left out"), "{told}");
        }
    }
}

#[test]
fn other_control_characters_in_a_credential_are_refused_by_name() {
    for name in ["INTERNAL_SECRET", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"] {
        for text in ["hunter2\nhunter2", "hunter2\u{1}x", "hunter2\u{0}x"] {
            let told = only_problem(with_env(&[(name, text)]));
            assert!(told.contains(name) && !told.contains("hunter2"), "{told}");
        }
    }
}

/// The driver `s3` with AWS's own variables.
const S3: [(&str, &str); 3] = [
    ("ATTACHMENT_STORAGE_DRIVER", "s3"),
    ("TIKKUN_ATTACHMENTS__S3_BUCKET", "b"),
    ("AWS_SECRET_ACCESS_KEY", "hunter2"),
];

#[test]
fn variables_of_aws_with_a_line_end_are_mended_and_others_left_to_its_chain() {
    let s3 = |env: &[(&str, &str)]| with_env(&[&S3[..], env].concat()).unwrap().settings.attachments.s3;
    let clean = s3(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_REGION", "r")]);
    assert_eq!((clean.access_key_id.expose_secret(), clean.region.as_str()), ("", ""));
    let mended = s3(&[("AWS_ACCESS_KEY_ID", "id\n"), ("AWS_SESSION_TOKEN", "t "), ("AWS_REGION", "r\n")]);
    let secrets = [&mended.access_key_id, &mended.secret_access_key, &mended.session_token];
    assert_eq!(secrets.map(|secret| secret.expose_secret().to_owned()), ["id", "hunter2", "t"]);
    assert_eq!(mended.region, "r");
    for broken in ["hunt\ner2", "\"hunter2\""] {
        let told = only_problem(with_env(&[&S3[..], &[("AWS_ACCESS_KEY_ID", broken)]].concat()));
        assert!(told.contains("AWS_ACCESS_KEY_ID cannot be used") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn endpoint_of_aws_variables_counts_unless_one_is_set_here() {
    let own = ("TIKKUN_ATTACHMENTS__S3_ENDPOINT", "https://own");
    let (general, of_s3) = (("AWS_ENDPOINT_URL", "http://a:1"), ("AWS_ENDPOINT_URL_S3", "http://s:1\n"));
    let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    let cases: [(&[_], _); 5] = [
        (&[], ("", false)),
        (&[general], ("http://a:1", true)),
        (&[general, of_s3], ("http://s:1", true)),
        (&[general, of_s3, own], ("https://own", false)),
        (&[general, ignored], ("", false)),
    ];
    for (env, expected) in cases {
        let s3 = with_env(&[&S3[..], env].concat()).unwrap().settings.attachments.s3;
        assert_eq!((s3.endpoint.as_str(), s3.path_style), expected, "{env:?}");
    }
    let told = only_problem(with_env(&[&S3[..], &[("AWS_ENDPOINT_URL", "http://u:hunter2@s")]].concat()));
    assert!(told.contains("AWS_ENDPOINT_URL") && !told.contains("hunter2"), "{told}");
}

#[test]
fn quotes_that_docker_keeps_are_named() {
    let r2 = [
        ("ATTACHMENT_STORAGE_DRIVER", "r2"),
        ("R2_ACCOUNT_ID", "a"),
        ("R2_BUCKET_NAME", "b"),
        ("R2_ACCESS_KEY_ID", "i"),
        ("R2_SECRET_ACCESS_KEY", "s"),
    ];
    for (name, value) in [
        ("R2_ACCESS_KEY_ID", "\"hunter2\""),
        ("R2_SECRET_ACCESS_KEY", "'hunter2'"),
        ("R2_BUCKET_NAME", "\"b\""),
        ("LOG_LEVEL", "\"INFO\""),
        ("SERVICE_ROLE", "'worker'"),
        ("RUN_MIGRATIONS_ON_START", "\"1\""),
        ("DATABASE_URL", "\"postgres://u:hunter2@h/d\""),
    ] {
        let others = r2.iter().filter(|(other, _)| *other != name).copied();
        let told = problems(with_env(&others.chain([(name, value)]).collect::<Vec<_>>())).join("\n");
        let named = told.contains(name) && told.contains("`docker --env-file` does not take them off");
        assert!(named && !told.contains("hunter2"), "{told}");
    }
    with_env(&[("R2_ACCESS_KEY_ID", "\"hunter2\"")]).expect("a driver that is not in force goes nowhere");
    let others = r2.iter().filter(|(other, _)| *other != "R2_SECRET_ACCESS_KEY").copied();
    let odd = others.chain([("R2_SECRET_ACCESS_KEY", "pass wörd")]).collect::<Vec<_>>();
    with_env(&odd).expect("a secret goes into no header");
    // They may be part of it: the web application reads the same file.
    let secret = "\"a-very-secret-secret-of-32-letters\"";
    let told = warnings(&[("INTERNAL_SECRET", secret)]);
    assert!(told[0].contains("INTERNAL_SECRET") && told[0].contains("quote"), "{told:?}");
    let told = warnings(&[("TIKKUN_SERVICE__DATA", "\"/srv\"")]);
    assert!(told[0].contains("which is taken as part of it"), "{told:?}");
}

#[test]
fn odd_names_of_queues_are_kept_with_a_warning_that_says_what_may_be_meant() {
    for (name, hint) in
        [("\"a\"", "docker"), ("a b", "put commas"), ("a;b", "put commas"), ("a # c", "not cut off")]
    {
        let loaded = with_env(&[("RQ_QUEUES", &format!("{name},maintenance"))]).unwrap();
        assert_eq!(loaded.settings.worker.queues[0].as_str(), name);
        let told = loaded.warnings.iter().find(|one| one.text.contains("served under just this name"));
        let told = &told.unwrap_or_else(|| panic!("{name}: {:?}", loaded.warnings)).text;
        assert!(told.contains(name) && told.contains(hint), "{told}");
    }
    assert!(warnings(&[]).is_empty(), "the usual names are not odd");
}
