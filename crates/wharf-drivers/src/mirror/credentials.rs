//! Acting as the caller: with its user and group, its umask, and none of our privileges.
//!
//! On Linux all of these belong to a thread, so no other thread notices. The real and saved user ids stay
//! ours: they are the way back, and they keep the caller from sending signals to us.
//!
//! What a caller may do follows from its ids alone. Capabilities that it holds without being root do not reach
//! the directory behind the mirror.

use std::cell::Cell;
use std::process::abort;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid, umask};
use rustix::thread::{
    CapabilitySet, UnshareFlags, capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use wharf::{Caller, Context};

type Result<T> = rustix::io::Result<T>;

/// On whose behalf something is done. May be taken along to another thread.
#[derive(Clone, Debug)]
pub(super) struct Who {
    uid: u32,
    gid: u32,
    groups: Groups,
}

#[derive(Clone, Debug)]
enum Groups {
    /// Looked up when they matter, which is seldom.
    Of(Context),
    Known(Vec<u32>),
}

impl Who {
    /// The caller of an operation.
    pub(super) fn asks(cx: &Context) -> Who {
        let Caller { uid, gid, .. } = cx.caller();
        // Root may do everything without.
        let groups = if uid == 0 { Groups::Known(Vec::new()) } else { Groups::Of(cx.clone()) };
        Who { uid, gid, groups }
    }

    /// A user with these groups.
    #[cfg(test)]
    pub(super) fn user(uid: u32, gid: u32, groups: &[u32]) -> Who {
        Who { uid, gid, groups: Groups::Known(groups.to_vec()) }
    }

    /// Whether this is root.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The supplementary groups. A caller that has ended meanwhile has none.
    fn groups(&self) -> Vec<Gid> {
        let raw = match &self.groups {
            Groups::Of(cx) => cx.groups().unwrap_or_default(),
            Groups::Known(groups) => groups.clone(),
        };
        raw.into_iter().filter(|gid| *gid != u32::MAX).map(Gid::from_raw).collect()
    }
}

/// When the caller's supplementary groups are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// If it fails without them.
    WhenRefused,
    /// From the start: without them it would succeed and do something else (set-group-ID bits vanish).
    Always,
    /// This one, at first: the kernel has told which of them matters.
    Of(u32),
}

/// What a new node asks of those who make it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewMode {
    /// Permission bits as the caller gave them.
    pub(super) permissions: u16,
    /// The caller's umask, which a default ACL of the directory overrides.
    pub(super) umask: u16,
    /// The supplementary group that matters, if the kernel told it.
    pub(super) group: Option<u32>,
}

/// Who this process is, and whether it may be others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credentials {
    uid: Uid,
    gid: Gid,
    switches: bool,
}

impl Credentials {
    pub(super) fn of_this_process() -> Credentials {
        let (uid, gid) = (geteuid(), getegid());
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
        let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(needed));
        // Only leaving user 0 gives up capabilities; anybody else would keep his when changing ids.
        Credentials { uid, gid, switches: may && uid.is_root() }
    }

    /// Whether operations run with their callers' ids.
    pub(super) fn switches(&self) -> bool {
        self.switches
    }

    /// Does `work` as `who`. It is done a second time if it needs supplementary groups, so it must be
    /// something that changes nothing when it is refused.
    pub(super) fn act<T>(
        &self,
        who: &Who,
        membership: Membership,
        work: impl Fn() -> Result<T>,
    ) -> Result<T> {
        if !self.differs(who) {
            return work();
        }
        Prepared::thread(self);
        let groups = match membership {
            Membership::WhenRefused => Vec::new(),
            Membership::Always => who.groups(),
            Membership::Of(gid) => vec![Gid::from_raw(gid)],
        };
        let first = {
            let _assumed = Assumed::ids(*self, who, &groups)?;
            work()
        };
        match first {
            Err(refused @ (Errno::ACCESS | Errno::PERM)) if membership != Membership::Always => {
                let all = who.groups();
                if all.len() <= groups.len() {
                    return Err(refused);
                }
                let _assumed = Assumed::ids(*self, who, &all)?;
                work()
            }
            first => first,
        }
    }

    /// Does `work`, which makes something with the mode it is given, as `who` and under its umask.
    pub(super) fn make<T>(&self, who: &Who, new: NewMode, work: impl Fn(Mode) -> Result<T>) -> Result<T> {
        let membership = match new.group {
            Some(gid) => Membership::Of(gid),
            None if new.permissions & 0o2000 != 0 => Membership::Always,
            None => Membership::WhenRefused,
        };
        let (_umask, permissions) = match Prepared::thread(self).own_umask {
            true => (Some(Umask::set(new.umask)), new.permissions),
            // The process's umask is not ours to change. A default ACL then sees a mode already masked.
            false => (None, new.permissions & !new.umask),
        };
        let mode = Mode::from_raw_mode(permissions.into());
        self.act(who, membership, || work(mode))
    }

    fn differs(&self, who: &Who) -> bool {
        let unknown = who.uid == Caller::UNKNOWN || who.gid == Caller::UNKNOWN;
        self.switches && !unknown && (who.uid != self.uid.as_raw() || who.gid != self.gid.as_raw())
    }
}

/// What has been done to the present thread, once and for good.
#[derive(Clone, Copy)]
struct Prepared {
    own_umask: bool,
}

thread_local! {
    static PREPARED: Cell<Option<Prepared>> = const { Cell::new(None) };
}

impl Prepared {
    fn thread(credentials: &Credentials) -> Prepared {
        PREPARED.get().unwrap_or_else(|| {
            #[expect(deprecated, reason = "unsafe only for CLONE_FILES, which is not asked for")]
            let own_umask = rustix::thread::unshare(UnshareFlags::FS).is_ok();
            // Root needs no groups, and whoever acts for others must not lend them his.
            if credentials.switches && set_thread_groups(&[]).is_err() {
                log::warn!("mirror: giving up supplementary groups failed; callers may be granted them");
            }
            let prepared = Prepared { own_umask };
            PREPARED.set(Some(prepared));
            prepared
        })
    }
}

/// The present thread's umask, until dropped.
struct Umask(Mode);

impl Umask {
    fn set(mask: u16) -> Umask {
        Umask(umask(Mode::from_raw_mode(u32::from(mask) & 0o777)))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

/// The present thread acts as somebody else, until dropped.
struct Assumed {
    own: Credentials,
    uid: bool,
    gid: bool,
    groups: bool,
}

impl Assumed {
    /// An id that does not exist here (as in a user namespace) may do nothing.
    fn ids(own: Credentials, who: &Who, groups: &[Gid]) -> Result<Assumed> {
        // Built first: whatever fails on the way, what has been done is undone.
        let mut assumed = Assumed { own, uid: false, gid: false, groups: false };
        if !groups.is_empty() {
            set_thread_groups(groups).map_err(|_| Errno::ACCESS)?;
            assumed.groups = true;
        }
        let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
        if gid != own.gid {
            set_thread_res_gid(None, gid, None).map_err(|_| Errno::ACCESS)?;
            assumed.gid = true;
        }
        if uid != own.uid {
            set_thread_res_uid(None, uid, None).map_err(|_| Errno::ACCESS)?;
            assumed.uid = true;
        }
        Ok(assumed)
    }
}

impl Drop for Assumed {
    fn drop(&mut self) {
        // The user first: with it the capabilities come back that the rest needs.
        let uid = !self.uid || set_thread_res_uid(None, self.own.uid, None).is_ok();
        let gid = !self.gid || set_thread_res_gid(None, self.own.gid, None).is_ok();
        let groups = !self.groups || set_thread_groups(&[]).is_ok();
        if !(uid && gid && groups) {
            // The next operation on this thread would be done in a stranger's name.
            log::error!("mirror: a thread could not take its own identity back");
            abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn ids() -> (u32, u32, usize) {
        (geteuid().as_raw(), getegid().as_raw(), rustix::process::getgroups().unwrap().len())
    }

    fn root() -> Credentials {
        let credentials = Credentials::of_this_process();
        assert!(credentials.switches(), "this test needs to run as root");
        credentials
    }

    #[test]
    fn work_is_done_as_the_caller_and_the_thread_is_itself_again() {
        let credentials = root();
        let during = credentials.act(&Who::user(12_345, 23_456, &[]), Membership::WhenRefused, || Ok(ids()));
        assert_eq!(during, Ok((12_345, 23_456, 0)));
        assert_eq!(ids(), (0, 0, 0));
        let has = capabilities(None).unwrap().effective;
        assert!(has.contains(CapabilitySet::DAC_OVERRIDE), "capabilities come back");
    }

    #[test]
    fn the_caller_has_none_of_our_capabilities() {
        let during = root().act(&Who::user(12_345, 12_345, &[]), Membership::WhenRefused, || {
            Ok(capabilities(None)?.effective)
        });
        assert_eq!(during, Ok(CapabilitySet::empty()));
    }

    #[test]
    fn a_thread_is_itself_again_after_a_panic() {
        let credentials = root();
        let who = Who::user(12_345, 12_345, &[5, 6]);
        let work = || credentials.act(&who, Membership::Always, || -> Result<()> { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        assert_eq!(ids(), (0, 0, 0));
    }

    #[test]
    fn groups_are_looked_up_only_after_a_refusal() {
        let credentials = root();
        let tries = Cell::new(0);
        let result = credentials.act(&Who::user(12_345, 12_345, &[7, 8]), Membership::WhenRefused, || {
            tries.set(tries.get() + 1);
            if ids().2 == 2 { Ok(()) } else { Err(Errno::ACCESS) }
        });
        assert_eq!((result, tries.get()), (Ok(()), 2));
        assert_eq!(ids(), (0, 0, 0));
    }

    #[test]
    fn a_caller_without_groups_is_refused_once() {
        let tries = Cell::new(0);
        let result: Result<()> = root().act(&Who::user(12_345, 12_345, &[]), Membership::WhenRefused, || {
            tries.set(tries.get() + 1);
            Err(Errno::PERM)
        });
        assert_eq!((result, tries.get()), (Err(Errno::PERM), 1));
    }

    #[test]
    fn the_umask_is_the_callers_meanwhile_and_no_other_threads() {
        let look = || {
            let mask = umask(Mode::empty());
            umask(mask);
            mask.as_raw_mode()
        };
        let (ask, asked) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || asked.recv().map(|()| look()).unwrap());
        let before = look();
        let new = NewMode { permissions: 0o666, umask: 0o027, group: None };
        let during = Credentials::of_this_process().make(&Who::user(0, 0, &[]), new, |mode| {
            ask.send(()).unwrap();
            while !other.is_finished() {
                std::thread::yield_now();
            }
            Ok((mode.as_raw_mode(), look()))
        });
        assert_eq!(during, Ok((0o666, 0o027)));
        assert_eq!((look(), other.join().unwrap()), (before, before));
    }

    #[test]
    fn ids_that_the_kernel_does_not_tell_change_nothing() {
        let during = root().act(&Who::user(u32::MAX, u32::MAX, &[]), Membership::Always, || Ok(ids()));
        assert_eq!(during.map(|ids| (ids.0, ids.1)), Ok((0, 0)));
    }
}
