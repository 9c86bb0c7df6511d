//! Decoding ahead: what giving back some blobs will need is known before the
//! first byte is written, so worker threads decode it in that order, each frame
//! once where memory allows.

use std::thread;

use super::decoder::{Decoder, FrameKey, Plan};
use super::{Result, Store, StoreError};
use crate::chunk::recipe::Body;
use crate::digest::{Digest, Id};
use crate::layer::section::Section;

/// More workers than this only wait for the one that writes.
const WORKERS_MAX: usize = 3;

/// Ends the workers, however the act that they work for ends.
struct StopWorkers<'d>(&'d Decoder);

impl Drop for StopWorkers<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Store {
    /// Carries out `act`, which reads these blobs in this order, while workers
    /// decode what it will need.
    pub fn decoding_ahead<T>(&self, blobs: &[Digest], act: impl FnOnce() -> T) -> Result<T> {
        let decoder = &self.decoder;
        decoder.start(self.plan(blobs)?);
        let workers = thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
        let value = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| decoder.work());
            }
            let _stop = StopWorkers(decoder);
            act()
        });
        Ok(value)
    }

    /// Which frames these blobs need, in order. Blobs that can't be planned are
    /// left for their reader to fail on.
    fn plan(&self, blobs: &[Digest]) -> Result<Plan> {
        let mut plan = Plan::default();
        for digest in blobs {
            match self.plan_blob(*digest, &mut plan) {
                Err(error) if error.is_damage() => {}
                result => result?,
            }
        }
        Ok(plan)
    }

    fn plan_blob(&self, digest: Digest, plan: &mut Plan) -> Result<()> {
        let recipe = self.recipe(digest)?;
        let (Body::Chunks(names) | Body::Tar(names)) = &recipe.body else { return Ok(()) };
        let damaged = |source| StoreError::Recipe { digest, source };
        for id in &names.sections {
            let chunk = self.chunk(*id)?;
            let mut section = Section::parse(chunk.as_slice()).map_err(damaged)?;
            while let Some((first, count)) = section.next_run().map_err(damaged)? {
                for run in names.resolve(first, count).map_err(damaged)? {
                    let pack = self.directory_of_plan(run.directory, plan)?;
                    self.plan_run(pack, (run.first, run.count), plan)?;
                }
            }
        }
        Ok(())
    }

    fn directory_of_plan(&self, directory: Id, plan: &mut Plan) -> Result<Id> {
        if let Some(pack) = plan.directories.get(&directory) {
            return Ok(*pack);
        }
        let pack = self.pack_of_directory(directory)?;
        plan.directories.insert(directory, pack);
        Ok(pack)
    }

    fn plan_run(&self, id: Id, (first, count): (u32, u32), plan: &mut Plan) -> Result<()> {
        let pack = self.pack(id)?;
        let (mut position, end) = (first, first.saturating_add(count));
        while let Some(number) = pack.frame_of(position).filter(|_| position < end) {
            let key = FrameKey { pack: id, number };
            if plan.sequence.last() != Some(&key) {
                self.plan_use(key, plan.sequence.len(), plan)?;
                plan.sequence.push(key);
            }
            let entry = pack.frames()[number];
            position = entry.first + entry.count;
        }
        Ok(())
    }

    /// Notes a use of a frame, and where it is the first, of its bases.
    fn plan_use(&self, key: FrameKey, at: usize, plan: &mut Plan) -> Result<()> {
        let uses = plan.uses.entry(key).or_default();
        let first = uses.is_empty();
        if uses.last() != Some(&at) {
            uses.push(at);
        }
        let pack = self.pack(key.pack)?;
        let entry = pack.frames()[key.number];
        if !first || entry.depth == 0 {
            return Ok(());
        }
        for run in pack.frame_header(key.number)?.bases {
            let id = match run.directory {
                None => key.pack,
                Some(directory) => self.directory_of_plan(directory, plan)?,
            };
            let base = self.pack(id)?;
            let (mut position, end) = (run.first, run.first.saturating_add(run.count));
            while let Some(number) = base.frame_of(position).filter(|_| position < end) {
                let below = base.frames()[number];
                if below.depth < entry.depth {
                    self.plan_use(FrameKey { pack: id, number }, at, plan)?;
                }
                position = below.first + below.count;
            }
        }
        Ok(())
    }
}
