//! Threads that compute the operations of a step together.
//!
//! Between two operations a member spins, because waking a sleeping thread takes longer than many
//! operations do; after [`SPIN`] without work it sleeps, so that an idle machine is idle. Tasks are
//! claimed one by one: a member that the system has taken off its core delays nobody for long.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a member waits for more work before it sleeps. Longer than the pause between two steps
/// of a model (sampling and scheduling, some 100 µs), far shorter than anyone would notice.
const SPIN: Duration = Duration::from_micros(300);
/// Looks at the clock once in so many turns.
const TURNS_PER_LOOK: u32 = 128;
/// Set in the gate while no member may enter.
const CLOSED: u32 = 1 << 31;

/// A group of threads; the caller of [`Team::run`] is one of its members.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    others: Vec<JoinHandle<()>>,
    /// Held by the caller whose work the team does.
    leader: Mutex<()>,
}

struct Shared {
    /// Written only while the gate is closed and nobody is inside.
    job: UnsafeCell<Option<Job>>,
    /// Members inside the job, and [`CLOSED`].
    gate: AtomicU32,
    /// Counts jobs; a change tells the members to look.
    epoch: AtomicU32,
    /// The next task that nobody has claimed.
    next: AtomicUsize,
    sleeping: AtomicUsize,
    is_over: AtomicBool,
    has_panicked: AtomicBool,
}

// SAFETY: `job` is written only by the leader, while the gate is closed and no member is inside.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is followed only inside the gate, while the leader's borrow lives.
unsafe impl Send for Shared {}

#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    work: *const (dyn Fn(usize) + Sync),
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Team {
    /// A team of `size` threads, the caller's own among them.
    pub fn new(size: usize) -> std::io::Result<Team> {
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(None),
            gate: AtomicU32::new(CLOSED),
            epoch: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
        });
        let others = (1..size.max(1))
            .map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("compute {number}"))
                    .spawn(move || shared.serve())
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Team { shared, others, leader: Mutex::new(()) })
    }

    /// Threads that work together.
    pub fn size(&self) -> usize {
        self.others.len() + 1
    }

    /// Calls `work` once for each number below `tasks` and returns when all are done.
    ///
    /// While another thread has the team, the caller does its tasks alone. Panics if a task did.
    pub fn run(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        let _leader = match self.leader.try_lock() {
            Ok(leader) => leader,
            // A task has panicked before; the team itself was left whole.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(work),
        };
        if tasks < 2 || self.others.is_empty() {
            return (0..tasks).for_each(work);
        }
        let shared = &*self.shared;
        // SAFETY: the borrow is followed only inside the gate, which is empty and closed again
        // before this function returns; only its lifetime is erased.
        let work: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        // SAFETY: the gate is closed, nobody is inside, and we are the only leader.
        unsafe { *shared.job.get() = Some(Job { tasks, work }) };
        shared.next.store(0, SeqCst);
        shared.gate.fetch_and(!CLOSED, SeqCst);
        shared.epoch.fetch_add(1, SeqCst);
        if shared.sleeping.load(SeqCst) > 0 {
            self.others.iter().for_each(|other| other.thread().unpark());
        }
        let own = catch_unwind(AssertUnwindSafe(|| shared.claim_and_work(tasks, work)));
        if own.is_err() {
            shared.next.store(tasks, SeqCst);
        }
        shared.gate.fetch_or(CLOSED, SeqCst);
        let mut turns = 0u32;
        while shared.gate.load(SeqCst) != CLOSED {
            relax(&mut turns);
        }
        let has_panicked = shared.has_panicked.swap(false, SeqCst);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!has_panicked, "a task of the team panicked");
    }

    /// Cuts `values` into chunks of `chunk_len` and calls `work` with each and its number.
    pub fn run_chunks<T: Send>(
        &self,
        values: &mut [T],
        chunk_len: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let len = values.len();
        let start = Shares(values.as_mut_ptr());
        self.run(len.div_ceil(chunk_len.max(1)), &|task| {
            let first = task * chunk_len;
            let count = chunk_len.min(len - first);
            // SAFETY: tasks are claimed once each, so chunks are lent once each, and they are
            // disjoint parts of the slice that is borrowed until all tasks are done.
            let chunk = unsafe { std::slice::from_raw_parts_mut(start.get().add(first), count) };
            work(task, chunk);
        });
    }

    /// `N` vectors of `len` values, made chunk by chunk: memory is first touched by whoever fills it,
    /// and nothing is written twice. `make` gets a chunk's number and where its values go, and gives
    /// the same places back, filled.
    pub fn produce<T: Send, const N: usize>(
        &self,
        len: usize,
        chunk_len: usize,
        make: impl for<'a> Fn(usize, [&'a mut [MaybeUninit<T>]; N]) -> [&'a mut [T]; N] + Sync,
    ) -> [Vec<T>; N] {
        let mut all: [Vec<T>; N] = std::array::from_fn(|_| Vec::with_capacity(len));
        let starts = all.each_mut().map(|values| Shares(values.spare_capacity_mut().as_mut_ptr()));
        let chunk_len = chunk_len.max(1);
        self.run(len.div_ceil(chunk_len), &|task| {
            let first = task * chunk_len;
            let count = chunk_len.min(len - first);
            let places = starts.each_ref().map(|start| {
                // SAFETY: within the capacity; tasks are claimed once each, so chunks are lent once
                // each, and they are disjoint.
                unsafe { std::slice::from_raw_parts_mut(start.get().add(first), count) }
            });
            let lent = places.each_ref().map(|place| place.as_ptr().cast::<T>());
            let filled = make(task, places);
            for (filled, lent) in filled.iter().zip(lent) {
                assert!(filled.as_ptr() == lent && filled.len() == count, "filled where it lies");
            }
        });
        for values in &mut all {
            // SAFETY: every chunk came back as values; a task that failed has panicked.
            unsafe { values.set_len(len) };
        }
        all
    }
}

/// A pointer whose parts go to different threads.
pub(crate) struct Shares<T>(pub(crate) *mut T);

// SAFETY: whoever uses it gives each thread a part of its own.
unsafe impl<T: Send> Sync for Shares<T> {}

impl<T> Shares<T> {
    /// Through a method, so that a closure borrows the whole and not the bare pointer.
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        self.shared.epoch.fetch_add(1, SeqCst);
        for other in self.others.drain(..) {
            other.thread().unpark();
            // A member catches its panics; there is nothing to tell here.
            let _ = other.join();
        }
    }
}

impl Shared {
    /// A member's life.
    fn serve(&self) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_job(seen);
            if self.is_over.load(SeqCst) {
                return;
            }
            // Late for a job that is done already: the gate is closed again.
            if self.gate.fetch_add(1, SeqCst) & CLOSED == 0 {
                // SAFETY: we are inside the open gate: the leader waits for us and writes nothing.
                let job = unsafe { *self.job.get() };
                if let Some(Job { tasks, work }) = job {
                    // SAFETY: the leader's borrow lives until we have left.
                    let work = unsafe { &*work };
                    let done = catch_unwind(AssertUnwindSafe(|| self.claim_and_work(tasks, work)));
                    if done.is_err() {
                        self.has_panicked.store(true, SeqCst);
                    }
                }
            }
            self.gate.fetch_sub(1, SeqCst);
        }
    }

    fn claim_and_work(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        loop {
            let task = self.next.fetch_add(1, SeqCst);
            if task >= tasks {
                return;
            }
            work(task);
        }
    }

    /// Spins, then sleeps, until the epoch is another than `seen`; returns the new one.
    fn wait_for_job(&self, seen: u32) -> u32 {
        let begun = Instant::now();
        let mut turns = 0u32;
        loop {
            let epoch = self.epoch.load(SeqCst);
            if epoch != seen {
                return epoch;
            }
            relax(&mut turns);
            if turns.is_multiple_of(TURNS_PER_LOOK) && begun.elapsed() > SPIN {
                self.sleeping.fetch_add(1, SeqCst);
                // Looked at after `sleeping` is raised: a leader that changes the epoch later sees
                // that somebody sleeps.
                while self.epoch.load(SeqCst) == seen {
                    std::thread::park();
                }
                self.sleeping.fetch_sub(1, SeqCst);
            }
        }
    }
}

/// A turn of waiting; now and then the core is offered to others.
fn relax(turns: &mut u32) {
    *turns = turns.wrapping_add(1);
    if turns.is_multiple_of(TURNS_PER_LOOK) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_whatever_the_size_of_the_team() {
        for size in [1, 2, 5] {
            let team = Team::new(size).expect("threads");
            for tasks in [0, 1, 2, 3, 100] {
                for _ in 0..50 {
                    let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                    team.run(tasks, &|task| {
                        runs[task].fetch_add(1, SeqCst);
                    });
                    assert!(runs.iter().all(|runs| runs.load(SeqCst) == 1));
                }
            }
        }
    }

    #[test]
    fn chunks_are_disjoint_and_whole() {
        let team = Team::new(3).expect("threads");
        let mut values = vec![0u32; 1001];
        team.run_chunks(&mut values, 7, |task, chunk| {
            chunk.iter_mut().for_each(|value| *value += task as u32 + 1);
        });
        assert!(values.iter().enumerate().all(|(index, &value)| value as usize == index / 7 + 1));
    }

    #[test]
    fn a_team_that_is_taken_leaves_the_caller_to_work_alone() {
        let team = Team::new(2).expect("threads");
        let count = AtomicUsize::new(0);
        team.run(4, &|_| {
            team.run(3, &|_| {
                count.fetch_add(1, SeqCst);
            });
        });
        assert_eq!(count.load(SeqCst), 12);
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_leaves_the_team_whole() {
        let team = Team::new(2).expect("threads");
        for task in 0..8 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(8, &|this| assert_ne!(this, task, "on purpose"));
            }));
            assert!(result.is_err());
        }
        let count = AtomicUsize::new(0);
        team.run(8, &|_| {
            count.fetch_add(1, SeqCst);
        });
        assert_eq!(count.load(SeqCst), 8);
    }

    #[test]
    fn members_that_slept_come_back() {
        let team = Team::new(2).expect("threads");
        for _ in 0..3 {
            while team.shared.sleeping.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            // Both tasks wait for each other, so both members must be there.
            let arrived = AtomicUsize::new(0);
            team.run(2, &|_| {
                arrived.fetch_add(1, SeqCst);
                while arrived.load(SeqCst) < 2 {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn vectors_are_produced_whole_by_all_chunks() {
        let team = Team::new(3).expect("threads");
        for len in [0, 1, 99, 100, 101] {
            let [squares, names] = team.produce(len, 10, |index, [squares, names]| {
                let numbers = index * 10..index * 10 + squares.len();
                let values: Vec<usize> = numbers.clone().map(|number| number * number).collect();
                let ids: Vec<usize> = numbers.collect();
                [squares.write_copy_of_slice(&values), names.write_copy_of_slice(&ids)]
            });
            assert_eq!(squares, (0..len).map(|number| number * number).collect::<Vec<_>>());
            assert_eq!(names, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "filled where it lies")]
    fn a_chunk_that_comes_back_as_another_is_refused() {
        let team = Team::new(1).expect("no threads");
        team.produce(4, 4, |_, [_]| [Box::leak(Box::new([1u8; 4])).as_mut_slice()]);
    }
}
