//! Tests of sessions that ended early.

use chrono::{DateTime, TimeDelta, Utc};
use tikkun::store::EndedSession;

use super::rig::Rig;

fn session(mark: &str, until: DateTime<Utc>) -> EndedSession {
    EndedSession { mark: mark.to_owned(), until }
}

pub async fn an_ended_session_is_known_until_its_time_has_passed(rig: &Rig) {
    let store = &rig.store.ended_sessions;
    let now = "2026-01-28T19:00:00Z".parse::<DateTime<Utc>>().unwrap();
    let after = |seconds| now + TimeDelta::seconds(seconds);
    let (short, long) = (session("short", after(10)), session("long", after(90)));
    for one in [&short, &long, &short] {
        store.end_session(one, now).await.unwrap();
    }
    assert_eq!(store.ended(now, 10).await.unwrap(), [long.clone(), short]);
    assert_eq!(store.ended(now, 1).await.unwrap(), std::slice::from_ref(&long));
    assert_eq!(store.ended(after(10), 10).await.unwrap(), std::slice::from_ref(&long));
    let next = session("next", after(120));
    store.end_session(&next, after(10)).await.unwrap();
    assert_eq!(store.ended(now, 10).await.unwrap(), [next, long], "what has passed is dropped");
}
