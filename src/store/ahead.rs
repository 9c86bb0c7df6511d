//! Reading ahead: what giving back some blobs will need is known before the
//! first byte is written, so worker threads decode it in that order, each frame
//! once where memory allows; and they compress what has to be.

use std::sync::Arc;
use std::thread;

use super::decoder::FrameKey;
use super::homes::Home;
use super::plan::Plan;
use super::prepared::Prepared;
use super::reencode::Reencoding;
use super::{Result, Store};
use crate::catalog::Place;
use crate::digest::{Digest, Id};

/// More workers than this only wait for the one that writes.
const DECODERS_MAX: usize = 3;
/// More than this would need more memory than they are worth.
const ENCODERS_MAX: usize = 8;

/// Ends the workers, however the act that they work for ends.
struct StopWorkers<'s>(&'s Store, &'s Reencoding);

impl Drop for StopWorkers<'_> {
    fn drop(&mut self) {
        self.1.stop();
        self.0.decoder.stop();
        self.0.ahead.take();
    }
}

impl Store {
    /// Carries out `act`, which copies these blobs in this order, while workers
    /// decode what it will need, and compress what has to be compressed. Another
    /// order, and other blobs, only take longer.
    pub fn decoding_ahead<T>(&self, blobs: &[Digest], act: impl FnOnce() -> T) -> Result<T> {
        let cores = self.threads();
        if cores == 0 {
            return Ok(act());
        }
        let (plan, prepared) = self.plan(blobs)?;
        let decoders = if plan.is_decoded_ahead() { cores.min(DECODERS_MAX) } else { 0 };
        let ahead = Arc::new(Reencoding::new(blobs, prepared));
        let encoders = cores.min(ENCODERS_MAX).min(ahead.jobs());
        let (decoder, queue, reader) = (&*self.decoder, &*ahead, self.reader()?);
        decoder.start(plan);
        self.ahead.replace(Some(Arc::clone(&ahead)));
        Ok(thread::scope(|scope| {
            let _stop = StopWorkers(self, queue);
            for _ in 0..decoders {
                scope.spawn(|| decoder.work(&|directory| reader.home(directory)));
            }
            for _ in 0..encoders {
                scope.spawn(|| queue.work(decoder, &reader));
            }
            act()
        }))
    }

    /// Which frames these blobs need, in order, and those blobs that have to be
    /// compressed. Blobs that can't be planned are left for their reader to fail
    /// on.
    fn plan(&self, blobs: &[Digest]) -> Result<(Plan, Vec<(usize, Prepared)>)> {
        let (mut plan, mut prepared) = (Plan::default(), Vec::new());
        for (stretch, digest) in blobs.iter().enumerate() {
            let planned = self.plan_blob(*digest, &mut plan).and_then(|()| self.prepare(*digest));
            let encoded = match planned {
                Err(error) if error.is_damage() => None,
                planned => Some(planned?).filter(Prepared::is_encoded),
            };
            plan.end_stretch(encoded.is_none());
            prepared.extend(encoded.map(|blob| (stretch, blob)));
        }
        Ok((plan, prepared))
    }

    fn plan_blob(&self, digest: Digest, plan: &mut Plan) -> Result<()> {
        for (_, recipe) in self.chain(digest)? {
            if recipe.body.names().is_some() {
                self.each_section(&recipe, |_, runs| {
                    for (place, count) in runs {
                        self.plan_run(place.pack, (place.position, *count), plan)?;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn plan_run(&self, id: Id, (first, count): (u32, u32), plan: &mut Plan) -> Result<()> {
        let pack = self.pack(id)?;
        let (mut position, end) = (first, first.saturating_add(count));
        while let Some(number) = pack.frame_of(position).filter(|_| position < end) {
            let key = FrameKey { pack: id, number };
            let at = plan.place();
            if plan.push(key) {
                self.plan_use(key, at, plan)?;
            }
            let entry = pack.frames()[number];
            position = entry.first + entry.count;
        }
        Ok(())
    }

    /// Notes a use of a frame, and where it is the first, of its bases.
    fn plan_use(&self, key: FrameKey, at: usize, plan: &mut Plan) -> Result<()> {
        let first = plan.note_use(key, at);
        let pack = self.pack(key.pack)?;
        let entry = pack.frames()[key.number];
        if !first || entry.depth == 0 {
            return Ok(());
        }
        for run in pack.frame_header(key.number)?.bases {
            let home = run.directory.map_or(Ok(Home::Pack(key.pack)), |id| self.home(id))?;
            home.runs(run.first, run.count, |place, count| {
                self.plan_base(place, count, entry.depth, at, plan)
            })?;
        }
        Ok(())
    }

    /// Notes a use of chunks as the base of a frame of this depth.
    fn plan_base(
        &self,
        place: Place,
        count: u32,
        depth: u8,
        at: usize,
        plan: &mut Plan,
    ) -> Result<()> {
        let base = self.pack(place.pack)?;
        let (mut position, end) = (place.position, place.position.saturating_add(count));
        while let Some(number) = base.frame_of(position).filter(|_| position < end) {
            let below = base.frames()[number];
            if below.depth < depth {
                self.plan_use(FrameKey { pack: place.pack, number }, at, plan)?;
            }
            position = below.first + below.count;
        }
        Ok(())
    }
}
