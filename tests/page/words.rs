//! The texts of the page: complete in both languages, and with the right plural for each number.

use serde_json::{Value, json};

use super::browser::Browser;
use super::ground::Ground;

/// What is wrong with the two dictionaries: blanks that one of them lacks, and forms that a language lacks or never uses.
const WRONG: &str = "
    const told = arguments[arguments.length - 1];
    Promise.all([import('/page/en.js'), import('/page/he.js')]).then(([{ en }, { he }]) => {
        const wrong = [];
        const forms = (found) => typeof found === 'string' ? { other: found } : found;
        const blanks = (text) => [...new Set(text.match(/\\{\\w+\\}/g))].sort();
        for (const [name, words] of Object.entries({ en, he })) {
            const wanted = new Intl.PluralRules(name).resolvedOptions().pluralCategories.sort().join();
            for (const [key, found] of Object.entries(words)) {
                const all = forms(found);
                if (typeof found !== 'string' && Object.keys(found).sort().join() !== wanted) wrong.push(`${name} ${key}: forms`);
                const known = blanks(all.other);
                if (Object.values(all).some((text) => blanks(text).some((one) => !known.includes(one)))) wrong.push(`${name} ${key}: blanks`);
            }
        }
        for (const key of Object.keys(en)) {
            if (String(blanks(forms(en[key]).other)) !== String(blanks(forms(he[key]).other))) wrong.push(`${key}: blanks differ`);
        }
        told(wrong);
    }, (error) => told([String(error)]));";

/// How many jobs are shown, for some numbers.
const COUNTED: &str = "
    const told = arguments[arguments.length - 1];
    import('/page/i18n.js').then(({ speak, t }) => told(['en', 'he'].map((language) => {
        speak(language);
        return [0, 1, 2, 1200].map((n) => t('shown_jobs', { n }));
    })), (error) => told(String(error)));";

#[tokio::test]
async fn both_languages_fill_the_same_blanks_and_count_as_they_should() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let browser = Browser::open(1280, 900);
    browser.go(&format!("http://{}/", service.address));
    browser.until("the sign-in", "return document.querySelector('#secret') !== null");
    assert_eq!(browser.run_until_told(WRONG), Value::Array(Vec::new()));
    let counted = json!([
        ["0 jobs", "1 job", "2 jobs", "1,200 jobs"],
        ["0 משימות", "משימה אחת", "שתי משימות", "1,200 משימות"],
    ]);
    assert_eq!(browser.run_until_told(COUNTED), counted);
    browser.end(&[]);
}
