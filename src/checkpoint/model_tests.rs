//! Random commits, against the model.

use super::StateStore;
use super::database::Database;
use super::sim_disk::SimDisk;
use super::testing::{Model, ModelWatch, held, random_commit};
use crate::api::WatchId;
use fastrand::Rng;

const COMMITS: usize = 200;
const CHANGES_MAX: usize = 60;
const SLACK_BYTES: u64 = 8 * 1024;

#[test]
fn a_state_holds_what_was_committed_however_often_it_is_opened() {
    for seed in 0..4 {
        let (mut rng, disk, mut model) = (Rng::with_seed(seed), SimDisk::default(), Model::default());
        Database::create(disk.clone()).unwrap();
        let mut store = StateStore::on(&disk, SLACK_BYTES).unwrap();
        for n in 0..COMMITS {
            let commit = random_commit(&mut rng, CHANGES_MAX);
            store.commit(&commit).unwrap();
            model.apply(&commit);
            match rng.u8(..) {
                0..16 => {
                    drop(store);
                    store = StateStore::on(&disk, SLACK_BYTES).unwrap();
                }
                16..24 => store.commit(&commit).unwrap(),
                24..32 => {
                    let id = WatchId::from_bits(rng.u64(0..4));
                    store.forget(id).unwrap();
                    model.watches.remove(&id);
                }
                32..64 => {
                    let id = WatchId::from_bits(rng.u64(0..4));
                    let loaded = store.load(id).unwrap().map(|progress| ModelWatch::of(&store, id, &progress));
                    assert_eq!(loaded.as_ref(), model.watches.get(&id), "seed {seed}, commit {n}");
                }
                64.. => continue,
            }
            assert_eq!(held(&store), model, "seed {seed}, commit {n}");
        }
        drop(store);
        assert_eq!(held(&StateStore::on(&disk, SLACK_BYTES).unwrap()), model, "seed {seed}");
    }
}
