//! A store on a simulated machine, what users do to it, and what must be true of
//! it whatever went wrong.
//!
//! Assumes that the same seed does the same. What was acknowledged must be there
//! and come out bit for bit; what wasn't, wholly or not at all. To add an
//! operation, add it to [`Act`]: what it does to a store, and to what is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use orlop::codec::Levels;
use orlop::fs::Fs;
use orlop::fs::sim::{Process, ROOT, Random, Sim};
use orlop::image::Query;
use orlop::ops::action::Author;
use orlop::ops::export::{Export, ExportOptions, Form};
use orlop::ops::forget;
use orlop::ops::forget::policy::Policy;
use orlop::ops::gc::{GcOptions, gc};
use orlop::ops::input::Input;
use orlop::ops::optimize::{OptimizeOptions, Plan, Watch, optimize};
use orlop::ops::resolve::{Resolved, resolve};
use orlop::ops::rm::rm;
use orlop::ops::save::{self, Original, SaveOptions};
use orlop::ops::tag::tag;
use orlop::progress::Progress;
use orlop::store::{Notice, OpenOptions, Store};
use orlop::time::{Time, Zone};

use crate::support::stores::{
    NOW, archive, expected, layer, listed, noise, open_disk, save as save_archive,
};

/// What any operation fails with.
pub(super) type Failed = Box<dyn std::error::Error>;

/// An image, as it is saved and as it comes out.
struct Image {
    name: &'static str,
    archive: Vec<u8>,
    expected: Vec<u8>,
}

/// The images that are saved: versions of two programs that share files.
static IMAGES: LazyLock<Vec<Image>> = LazyLock::new(|| {
    let shared = noise(1, 30_000);
    let versions = ["app:1", "app:2", "tool:1", "app:3", "tool:2"];
    (2..)
        .zip(versions)
        .map(|(seed, name)| {
            let mut text = b"a line that all versions have\n".repeat(100);
            text.extend_from_slice(name.as_bytes());
            let program = name.split(':').next().unwrap();
            let own = noise(seed, 3000);
            let lower = layer(&[("shared", &shared), ("text", &text)]);
            let upper = layer(&[(program, &text), ("own", &own)]);
            let archive = archive(name, &[lower, upper]);
            let expected = expected(&archive, name);
            Image { name, archive, expected }
        })
        .collect()
});

/// How many images there are to be saved.
pub(super) const IMAGE_COUNT: usize = 5;

/// Something that a user does, in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Makes the store, if need be, and saves an image.
    Save(usize),
    /// Builds the catalog again.
    Reindex,
    /// Exports an image, and compares it.
    Export(usize),
    /// Has packs be compressed as hard as they can be.
    Optimize,
    /// Gives an image another name.
    Tag(usize),
    /// Takes its name from an image, with all that had it.
    Remove(usize),
    /// Lets all go by rule but those that are tagged `1` or `kept`.
    Forget,
    /// Collects garbage, all of it.
    Collect,
}

/// What is listed: names, and which image each is.
pub(super) type Listing = BTreeMap<String, usize>;

impl Act {
    /// Does it.
    pub(super) fn carry_out(self, process: &Process, cache: Option<&Path>) -> Result<(), Failed> {
        let mut store = open(process, cache)?;
        match self {
            Self::Save(number) => save_image(&mut store, number)?,
            Self::Reindex => store.reindex()?,
            Self::Export(number) => {
                let image = &IMAGES[number];
                assert!(export(&store, image.name)? == image.expected, "{}", image.name);
            }
            Self::Optimize => optimize_all(&mut store)?,
            Self::Tag(number) => {
                let found = find(&store, IMAGES[number].name)?;
                tag(&mut store, &found, &KEPT.parse()?, author())?;
            }
            Self::Remove(number) => {
                let name = IMAGES[number].name;
                let found = find(&store, name)?;
                rm(&mut store, &[(name.to_owned(), found)], true, author())?;
            }
            Self::Forget => {
                let tags = KEPT_TAGS.map(str::to_owned).to_vec();
                let policy = Policy { tags, ..Policy::default() };
                forget::plan(&store, None, &policy, &Zone::utc())?
                    .carry_out(&mut store, author())?;
            }
            Self::Collect => collect(&mut store)?,
        }
        Ok(())
    }

    /// What is listed when it was done; nothing where it can't be.
    fn apply(self, listing: &Listing) -> Option<Listing> {
        let mut listing = listing.clone();
        match self {
            Self::Save(number) => {
                listing.insert(IMAGES[number].name.to_owned(), number);
            }
            Self::Tag(number) => {
                listing.get(IMAGES[number].name)?;
                listing.insert(KEPT.to_owned(), number);
            }
            Self::Remove(number) => {
                // Of two who remove it at once, both may have.
                listing.remove(IMAGES[number].name);
            }
            Self::Forget => {
                let stays = |name: &str| KEPT_TAGS.contains(&name.split(':').nth(1).unwrap());
                listing.retain(|name, _| stays(name));
            }
            Self::Export(number) => {
                listing.get(IMAGES[number].name)?;
            }
            Self::Reindex | Self::Optimize | Self::Collect => {}
        }
        Some(listing)
    }

    /// Anything that can be done to a store.
    pub(super) fn any(random: &mut Random) -> Self {
        match random.below(16) {
            0 => Self::Reindex,
            1 => Self::Optimize,
            2 => Self::Tag(random.below(IMAGE_COUNT)),
            3 | 4 => Self::Remove(random.below(IMAGE_COUNT)),
            5 => Self::Forget,
            6..=8 => Self::Collect,
            9 => Self::Export(random.below(IMAGE_COUNT)),
            _ => Self::Save(random.below(IMAGE_COUNT)),
        }
    }
}

/// The name that images are tagged with.
const KEPT: &str = "other:kept";
/// The tags that are kept by the rule.
const KEPT_TAGS: [&str; 2] = ["1", "kept"];
/// Whoever does all this.
fn author() -> Author<'static> {
    Author { program: "test", now: Time::from_nanos(NOW) }
}

/// What an image comes out as under a name.
fn expected_as(name: &str, number: usize) -> &'static [u8] {
    static TAGGED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let tagged = |image: &Image| {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open_disk(folder.path());
            save_archive(&mut store, &image.archive).unwrap();
            let found = find(&store, image.name).unwrap();
            tag(&mut store, &found, &KEPT.parse().unwrap(), author()).unwrap();
            export(&store, KEPT).unwrap()
        };
        IMAGES.iter().map(tagged).collect()
    });
    if name == KEPT { &TAGGED[number] } else { &IMAGES[number].expected }
}

fn find(store: &Store, name: &str) -> Result<Resolved, Failed> {
    Ok(resolve(store, &Query::parse(name)?, &|_| None)?)
}

fn collect(store: &mut Store) -> Result<(), Failed> {
    let options = GcOptions {
        waste: 0,
        levels: Levels::for_content(1),
        now: Time::from_nanos(NOW),
        program: "test",
    };
    gc(store, &options, &())?;
    Ok(())
}

/// Opens the store, which is made if need be.
fn open(process: &Process, cache: Option<&Path>) -> Result<Store, Failed> {
    let fs: Arc<dyn Fs> = Arc::new(process.clone());
    if !Store::exists(&*fs, Path::new(ROOT)) {
        Store::create(&*fs, Path::new(ROOT), "test")?;
    }
    let options =
        OpenOptions { cache: cache.map(PathBuf::from), threads: Some(0), ..OpenOptions::default() };
    Ok(Store::open(fs, Path::new(ROOT), &options)?)
}

/// Damage is no outcome of a crash.
fn check_notices(store: &mut Store) -> Result<(), Failed> {
    for notice in store.take_notices() {
        if matches!(notice, Notice::PackUnreadable { .. } | Notice::RecordUnreadable { .. }) {
            return Err(format!("{notice:?}").into());
        }
    }
    Ok(())
}

fn save_image(store: &mut Store, number: usize) -> Result<(), Failed> {
    let image = &IMAGES[number];
    let archive = std::io::Cursor::new(image.archive.clone());
    let options = SaveOptions {
        tag: None,
        level: 1,
        now: Time::from_nanos(NOW),
        now_as_given: false,
        program: "test",
        original: Original::Keep,
    };
    save::save(store, Input::from_stream("a.tar".to_owned(), archive)?, &options, &())?;
    Ok(())
}

fn optimize_all(store: &mut Store) -> Result<(), Failed> {
    // One thread reads, so that all comes in one order.
    let options = OptimizeOptions { memory: 0, now: Time::from_nanos(NOW), program: "test" };
    let outcome = optimize(store, &options, &AllTheTime)?;
    match outcome.damaged.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

/// Whoever optimizes is never told to end.
struct AllTheTime;

impl Progress for AllTheTime {
    fn begin(&self, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

impl Watch for AllTheTime {
    fn planned(&self, _: &Plan) {}
    fn has_time(&self) -> bool {
        true
    }
}

fn export(store: &Store, name: &str) -> Result<Vec<u8>, Failed> {
    let image = find(store, name)?;
    let mut bytes = Vec::new();
    let export = Export::plan(store, &[image], &ExportOptions::default(), &())?;
    export.write(&mut bytes, Form::Plain, &())?;
    Ok(bytes)
}

/// A machine, and what its store may hold.
pub(super) struct World {
    pub(super) sim: Sim,
    /// Any of these may be listed.
    possible: BTreeSet<Listing>,
    /// A folder of the real disk for the catalog, which then outlives crashes.
    cache: Option<tempfile::TempDir>,
    /// What was done, for messages.
    story: Vec<String>,
}

impl World {
    /// An empty machine.
    pub(super) fn new() -> Self {
        let possible = BTreeSet::from([Listing::new()]);
        Self { sim: Sim::new(0), possible, cache: None, story: Vec::new() }
    }

    /// A machine where all of this was done.
    pub(super) fn after(acts: &[Act]) -> Self {
        let mut world = Self::new();
        for act in acts {
            let process = world.sim.process();
            act.carry_out(&process, None).unwrap();
            process.end();
            world.done(&[(*act, true)]);
        }
        world
    }

    /// The same on another machine, which goes on by this seed.
    pub(super) fn fork(&self, seed: u64) -> Self {
        let (possible, story) = (self.possible.clone(), self.story.clone());
        Self { sim: self.sim.fork(seed), possible, cache: None, story }
    }

    /// Has the catalog outlive crashes. Processes that take turns can't share one,
    /// since they wait for its lock as well.
    pub(super) fn keep_catalog(&mut self) {
        self.cache = Some(tempfile::tempdir().unwrap());
        self.tell("catalog on disk");
    }

    pub(super) fn cache(&self) -> Option<&Path> {
        self.cache.as_ref().map(tempfile::TempDir::path)
    }

    /// What happened, one line each.
    pub(super) fn story(&self) -> String {
        self.story.join("\n")
    }

    pub(super) fn tell(&mut self, what: impl Debug) {
        self.story.push(format!("  {what:?}"));
    }

    /// Has a process do something. Whether it worked, as far as it knows.
    pub(super) fn run(&mut self, process: &Process, act: Act) -> bool {
        let result = act.carry_out(process, self.cache());
        let error = result.as_ref().err().map(|error| chain(&**error));
        self.tell((act, process.changes(), error));
        self.done(&[(act, result.is_ok())]);
        result.is_ok()
    }

    /// What may be listed now that these were done at once, in any order; of those
    /// that weren't acknowledged, any may have been done or not.
    pub(super) fn done(&mut self, acts: &[(Act, bool)]) {
        let mut found = BTreeSet::new();
        for listing in &self.possible {
            any_order(listing, acts, &mut found);
        }
        self.possible = found;
    }

    /// Loses power. What is found then stays.
    pub(super) fn cut_power(&mut self) {
        self.sim.cut_power();
        self.tell("cut power");
    }

    /// What is listed may be, and each of it comes out as it went in.
    fn check_store(&self, store: &Store) -> Result<Listing, Failed> {
        let names: BTreeSet<_> = listed(store).into_iter().collect();
        let mut exported = BTreeMap::new();
        for name in &names {
            let bytes = export(store, name).map_err(|error| format!("{name}: {error:?}"))?;
            exported.insert(name.as_str(), bytes);
        }
        let comes_out = |listing: &&Listing| {
            listing.keys().eq(&names)
                && listing
                    .iter()
                    .all(|(name, number)| exported[name.as_str()] == expected_as(name, *number))
        };
        let found = self.possible.iter().find(comes_out);
        found
            .cloned()
            .ok_or_else(|| format!("{names:?}, or what they are, of {:?}", self.possible).into())
    }

    /// The store opens without help and holds what it must. With `settled`, what
    /// is found is durable and stays.
    pub(super) fn check(&mut self, settled: bool) {
        let process = self.sim.process();
        if Store::exists(&process, Path::new(ROOT)) {
            let found = open(&process, self.cache()).and_then(|mut store| {
                check_notices(&mut store)?;
                self.check_store(&store)
            });
            let found = found.unwrap_or_else(|error| panic!("{error:?}\n{}", self.story()));
            if settled {
                self.possible = BTreeSet::from([found]);
            }
        } else {
            assert!(self.possible.contains(&Listing::new()), "gone\n{}", self.story());
        }
        process.end();
    }

    /// The next save works, leaves nothing lying about, and survives all.
    pub(super) fn check_next_save(&mut self, number: usize) {
        let process = self.sim.process();
        let worked = self.run(&process, Act::Save(number));
        assert!(worked, "the next save\n{}", self.story());
        process.end();
        self.check_left();
        self.check(false);
        self.cut_power();
        self.check(true);
    }

    /// Nobody is at work, so nothing is lying about but what counts collections.
    fn check_left(&self) {
        let mut left = self.sim.process().list(&Path::new(ROOT).join("tmp")).unwrap();
        left.retain(|name| name != "gc");
        assert_eq!(left, [""; 0], "left over\n{}", self.story());
    }

    /// What garbage there is goes, and all else stays. What a collection itself writes
    /// may be of use to the next.
    pub(super) fn check_next_collection(&mut self) {
        // What is left may look different to the next one, but that ends soon.
        let mut used = Vec::new();
        while used.len() < 2 || (used.len() < 6 && used.windows(2).all(|pair| pair[0] != pair[1])) {
            let process = self.sim.process();
            let worked = self.run(&process, Act::Collect);
            assert!(worked, "the next collection\n{}", self.story());
            process.end();
            used.push(self.sim.used());
        }
        let settled = used.windows(2).any(|pair| pair[0] == pair[1]);
        assert!(settled, "garbage that was left: {used:?}\n{}", self.story());
        self.check_left();
        self.cut_power();
        self.check(true);
    }
}

/// An error with all that caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn any_order(listing: &Listing, acts: &[(Act, bool)], found: &mut BTreeSet<Listing>) {
    if acts.is_empty() {
        found.insert(listing.clone());
    }
    for at in 0..acts.len() {
        let mut others = acts.to_vec();
        let (act, acknowledged) = others.remove(at);
        if let Some(listing) = act.apply(listing) {
            any_order(&listing, &others, found);
        }
        if !acknowledged {
            any_order(listing, &others, found);
        }
    }
}
