//! What the simulated machine promises: what was synced stays, what wasn't may be
//! left in every way, and the same seed does the same.

use std::collections::BTreeSet;

use super::*;

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// A machine with an empty folder at [`ROOT`].
fn machine(seed: u64) -> (Sim, Process) {
    let sim = Sim::new(seed);
    let process = sim.process();
    super::super::create_dir_all(&process, Path::new(ROOT)).unwrap();
    (sim, process)
}

fn write(fs: &dyn Fs, name: &str, bytes: &[u8], synced: bool) {
    let mut file = fs.create(&path(name)).unwrap();
    file.write_all(bytes).unwrap();
    if synced {
        file.sync().unwrap();
    }
}

/// What is found after a power cut, by seed.
fn outcomes<T: Ord>(prepare: impl Fn(&Process), look: impl Fn(&Sim) -> T) -> BTreeSet<T> {
    let cut = |seed| {
        let (sim, process) = machine(seed);
        prepare(&process);
        sim.cut_power();
        look(&sim)
    };
    (0..400).map(cut).collect()
}

#[test]
fn what_was_synced_stays() {
    let prepare = |process: &Process| {
        write(process, "part", b"text", true);
        process.rename(&path("part"), &path("whole")).unwrap();
        process.sync_dir(Path::new(ROOT)).unwrap();
    };
    let found = outcomes(prepare, Sim::files);
    assert_eq!(Vec::from_iter(found), [BTreeMap::from([(path("whole"), 4)])]);
}

#[test]
fn names_that_were_not_synced_are_left_or_not() {
    let prepare = |process: &Process| {
        write(process, "old", b"text", true);
        process.sync_dir(Path::new(ROOT)).unwrap();
        process.rename(&path("old"), &path("new")).unwrap();
    };
    let names = |sim: &Sim| {
        let files = sim.files();
        [files.contains_key(&path("old")), files.contains_key(&path("new"))]
    };
    let all = [[false, false], [false, true], [true, false], [true, true]];
    assert_eq!(Vec::from_iter(outcomes(prepare, names)), all);
}

#[test]
fn content_that_was_not_synced_is_lost_kept_or_torn() {
    let text = [1; 10_000];
    let prepare = |process: &Process| {
        write(process, "file", &text, false);
        process.sync_dir(Path::new(ROOT)).unwrap();
    };
    let content = |sim: &Sim| sim.content(&path("file")).unwrap();
    let found = outcomes(prepare, content);
    let has = |wanted: &dyn Fn(&[u8]) -> bool| found.iter().any(|bytes| wanted(bytes));
    assert!(has(&<[u8]>::is_empty) && has(&|bytes| bytes == text));
    assert!(has(&|bytes| bytes == [0; 10_000]));
    assert!(has(&|bytes| !bytes.is_empty() && text.starts_with(bytes) && bytes != text));
    assert!(has(&|bytes| bytes.starts_with(&[0; 4096]) && bytes.ends_with(&[1])));
}

#[test]
fn what_is_in_a_folder_goes_with_it() {
    let prepare = |process: &Process| {
        process.create_dir(&path("folder")).unwrap();
        write(process, "folder/file", b"text", true);
        process.sync_dir(&path("folder")).unwrap();
    };
    let found = outcomes(prepare, |sim| {
        let process = sim.process();
        (process.exists(&path("folder")), process.exists(&path("folder/file")))
    });
    assert_eq!(Vec::from_iter(found), [(false, false), (true, true)]);
}

#[test]
fn pages_of_a_failed_sync_are_lost_whatever_comes_later() {
    let prepare = |process: &Process| {
        let mut file = process.create(&path("file")).unwrap();
        process.sync_dir(Path::new(ROOT)).unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        process.fail(Fault { at: 0, error: Failure::Io, forever: false });
        assert_eq!(file.sync().unwrap_err().source.raw_os_error(), Some(5));
        file.sync().unwrap();
    };
    let zeros = |sim: &Sim| {
        let content = sim.content(&path("file")).unwrap();
        (content.len(), content.contains(&0))
    };
    assert_eq!(outcomes(prepare, zeros).last(), Some(&(10_000, true)));
}

#[test]
fn a_process_that_is_killed_loses_its_locks_and_nothing_else() {
    let (sim, process) = machine(1);
    write(&process, "lock", b"", false);
    let lock = process.try_lock(&path("lock")).unwrap().unwrap();
    let other = sim.process();
    assert!(other.try_lock(&path("lock")).unwrap().is_none());
    process.kill_at(process.changes() + 2);
    write(&process, "file", b"", false);
    assert!(process.remove_file(&path("file")).is_err());
    assert!(process.has_ended());
    assert!(process.create(&path("more")).is_err());
    assert!(other.exists(&path("file")));
    let again = other.try_lock(&path("lock")).unwrap();
    assert!(again.is_some());
    // The first one is a dead hand.
    drop(lock);
    assert!(sim.process().try_lock(&path("lock")).unwrap().is_none());
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (sim, process) = machine(1);
    sim.limit(Some(10));
    let mut file = process.create(&path("file")).unwrap();
    file.write_all(&[1; 8]).unwrap();
    let error = file.write_all(&[1; 8]).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(sim.used(), 10);
    process.remove_file(&path("file")).unwrap();
    assert_eq!(sim.used(), 0);
}

#[test]
fn turns_come_from_the_seed() {
    let run = |seed: u64, frozen: bool| {
        let (sim, first) = machine(seed);
        write(&first, "list", b"", false);
        let processes: Vec<_> = (0..3).map(|_| sim.process()).collect();
        if frozen {
            processes[0].freeze_after(1, false);
        }
        sim.take_turns(&processes);
        std::thread::scope(|scope| {
            for (number, process) in processes.iter().enumerate() {
                scope.spawn(move || {
                    for at in 0..5 {
                        let name = format!("{number}-{at}");
                        process.create(&path(&name)).unwrap();
                    }
                    process.end();
                });
            }
        });
        let nodes = sim.shared.lock();
        let nodes = (0..15).map(|at| nodes.medium.open(&path(&format!("{}-{}", at / 5, at % 5))));
        nodes.map(|node| node.unwrap()).collect::<Vec<_>>()
    };
    let all: BTreeSet<_> = (0..20).map(|seed| run(seed, false)).collect();
    assert!(all.len() > 15, "{}", all.len());
    assert_eq!(run(7, false), run(7, false));
    // One that is frozen after its first goes on when all others have ended.
    let order = run(7, true);
    assert!(order[1..5].iter().all(|node| order[5..].iter().all(|other| other < node)));
}
