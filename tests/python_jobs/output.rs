//! Where the lines go that jobs write.

use serde_json::{Value, json};

use super::ground::{ALL, Ground};

#[test]
fn in_text_lines_pass_through_unchanged_and_apart() {
    for rq in ALL {
        for isolation in ["job", "warm"] {
            let mut ground = Ground::new(rq);
            ground.enqueue("default", "parts.speak", &json!([]), &json!({}));
            let options = ["--isolation", isolation, "--set", "log.format=text"];
            let mut run = ground.run(&options, &ground.worker(&["-b", "default"]));
            assert!(run.ended().success(), "{rq:?}: {}", run.log());
            let has = |text: &str, line: &str| text.lines().any(|written| written == line);
            let (stdout, stderr) = ("to stdout: %d ✓", "to stderr: {}");
            assert!(has(&run.stdout(), stdout) && !has(&run.stdout(), stderr), "{rq:?}: {}", run.stdout());
            assert!(has(&run.stderr(), stderr) && !has(&run.stderr(), stdout), "{rq:?}: {}", run.stderr());
        }
    }
}

#[test]
fn in_json_every_line_names_its_job_queue_and_stream() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let job = ground.enqueue("default", "parts.speak", &json!([]), &json!({}));
        let mut run = ground.run(&["--set", "log.format=json"], &ground.worker(&["-b", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        let log = run.log();
        for (stream, text) in [("stdout", "to stdout: %d ✓"), ("stderr", "to stderr: {}")] {
            let line =
                log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log}"));
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(
                [&line["job.id"], &line["queue.name"], &line["stream"]],
                [&json!(job), &json!("default"), &json!(stream)],
                "{line}"
            );
        }
    }
}
