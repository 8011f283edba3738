//! Work that would hold the server for too long in one script, done in steps.

use super::server::Server;
use crate::fault::Fault;

/// The server's word for the beginning and for the end of a look through all keys.
pub(super) const FIRST_LOOK: &str = "0";

/// The most steps of a look through all keys, each of about a thousand, in one call.
const LOOKS: u32 = 10;

impl Server {
    /// Lets go dependents that were too many for the script in which their job ended, in at most so many `steps`.
    pub(super) async fn release(&self, steps: u32) -> Result<(), Fault> {
        for _ in 0..steps {
            let call = self.prepare(&self.scripts.release);
            let is_more: u8 = self.link.invoke(&call, || "let dependents go".to_owned()).await?;
            if is_more == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Forgets unique keys of jobs that ended or went in a way that nobody here saw, a part of all keys at a time.
    pub(super) async fn free_keys(&self) -> Result<(), Fault> {
        for _ in 0..LOOKS {
            let mut call = self.prepare(&self.scripts.free_keys);
            call.arg(&*self.next_look.lock());
            let next: String =
                self.link.invoke(&call, || "look for unique keys that nobody holds".to_owned()).await?;
            let is_end = next == FIRST_LOOK;
            *self.next_look.lock() = next;
            if is_end {
                break;
            }
        }
        Ok(())
    }
}
