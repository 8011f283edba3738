//! Findings about the deletions that the configuration describes. They do not matter for a single job.

use super::facts::Facts;
use super::finding::{Finding, Severity, finding};

/// What makes a description unusable, and what could be better.
pub(super) fn deletions(facts: &Facts) -> Vec<Finding> {
    let examined = match &facts.deletions {
        _ if facts.asked.is_some() => return Vec::new(),
        Ok(examined) => examined,
        Err(why) => {
            let graded = (Severity::Warning, "deletions_unexamined");
            let what = format!("the described deletions could not be compared with the tables: {why}");
            return vec![finding(
                graded,
                "deletions",
                what,
                "mend what the error names, and call `tikkun doctor` again",
            )];
        }
    };
    let mut findings = Vec::new();
    for one in examined {
        let subject = format!("deletion {}", one.name);
        findings.extend(one.errors.iter().map(|error| {
            finding(
                (Severity::Error, "deletion_unusable"),
                &subject,
                error,
                "correct the description, or the table; until then this deletion fails at once, and others are not affected",
            )
        }));
        findings.extend(one.findings.iter().map(|text| {
            let to_do = "what the text says, or nothing where it is meant so: the deletion works";
            finding((Severity::Notice, "deletion_advice"), &subject, text, to_do)
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::diagnosis::tests::well;
    use crate::store::ExaminedDeletion;

    #[test]
    fn description_that_does_not_fit_is_an_error_and_advice_is_none() {
        let mut facts = well();
        facts.deletions = Ok(vec![ExaminedDeletion {
            name: "recordings".to_owned(),
            fitted: None,
            errors: vec!["`deletion[0].table`: there is no table `recordings`".to_owned()],
            findings: vec!["an index is missing".to_owned()],
        }]);
        let told =
            |facts: &Facts| deletions(facts).iter().map(|one| (one.severity, one.code)).collect::<Vec<_>>();
        let expected = [(Severity::Error, "deletion_unusable"), (Severity::Notice, "deletion_advice")];
        assert_eq!(told(&facts), expected);
        facts.asked = Some("27".to_owned());
        assert_eq!(told(&facts), []);
    }
}
