//! Checks a log of affidavit with code that is none of affidavit's: the crates `tlog_tiles` and `signed_note`.
//!
//! ```text
//! tiles TREE VKEYS [HEAD ...]
//! ```
//!
//! TREE is the servable tree of a log (logs/<log>/tree), VKEYS a file whose first line is the log's Ed25519 verifier key,
//! and each HEAD a signed head of the same log that was kept (logs/<log>/heads/<size>). The exit code is 0 if everything
//! holds, 1 if something does not, 2 if the program was called wrongly.
//!
//! It demands, of the newest head and of each that was kept: a valid Ed25519 signature (lines of other keys are left
//! alone); bundles and tiles that are exactly what the entries make them, up to the signed root; each entry's record hash
//! where the tiles, authenticated from the root down, have it; inclusion proofs of a sample; and of each kept head, a
//! consistency proof to the newest.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use signed_note::{Note, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::{
    check_record, check_tree, prove_record, prove_tree, record_hash, stored_hash_index, stored_hashes_for_record_hash,
    tree_hash, Checkpoint, Hash, HashReader, Tile, TileHashReader, TileReader, HASH_SIZE,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Found<T> = std::result::Result<T, tlog_tiles::Error>;

const TILE_HEIGHT: u8 = 8;
const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Entries of a head, besides those at edges, whose inclusion is proved.
const SAMPLES: u64 = 16;

/// What a checkpoint says, after its signature was verified.
struct Head {
    size: u64,
    root: Hash,
    /// Signature lines of keys that we do not have.
    unknown: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let [_, tree, vkeys, kept @ ..] = &arguments[..] else {
        eprintln!("usage: tiles TREE VKEYS [HEAD ...]");
        return ExitCode::from(2);
    };
    match check(Path::new(tree), Path::new(vkeys), kept) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tiles: {error}");
            ExitCode::from(1)
        }
    }
}

fn check(tree: &Path, vkeys: &Path, kept: &[String]) -> Result<String> {
    let vkey = fs::read_to_string(vkeys)?.lines().next().unwrap_or_default().to_string();
    let name = StandardVerifier::new(&vkey)?.name().to_string();
    let newest = read_head(&tree.join("checkpoint"), &vkey)?;
    let store = Directory { root: tree.to_path_buf(), size: newest.size };
    for path in kept {
        let old = read_head(Path::new(path), &vkey)?;
        check_consistency(&old, &newest, &store)?;
        check_tree_of(&old, &store).map_err(|error| format!("head of size {}: {error}", old.size))?;
    }
    check_tree_of(&newest, &store).map_err(|error| format!("head of size {}: {error}", newest.size))?;
    Ok(format!(
        "verified {name} with size {}: {} kept heads are consistent, {} unknown signature lines were left alone",
        newest.size,
        kept.len(),
        newest.unknown
    ))
}

fn read_head(path: &Path, vkey: &str) -> Result<Head> {
    let verifier = StandardVerifier::new(vkey)?;
    let name = verifier.name().to_string();
    let note = Note::from_bytes(&fs::read(path)?)?;
    let (_, unknown) = note.verify(&VerifierList::new(vec![Box::new(verifier)]))?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|error| error.to_string())?;
    if checkpoint.origin() != name || !checkpoint.extension().is_empty() {
        return Err(format!("{} is no checkpoint of {name} without extension lines", path.display()).into());
    }
    Ok(Head { size: checkpoint.size(), root: *checkpoint.hash(), unknown: unknown.len() })
}

/// Reads the files of a tree under their tlog-tiles names.
struct Directory {
    root: PathBuf,
    /// Of the newest head: it tells how wide the last tile of each level has become.
    size: u64,
}

impl Directory {
    /// Spells a tile as tlog-tiles does: without the height, and with "entries" for "data".
    fn path(&self, tile: &Tile) -> PathBuf {
        let spelled = tile.path();
        let name = spelled.strip_prefix(&format!("tile/{TILE_HEIGHT}/")).unwrap_or(&spelled);
        let name = name.strip_prefix("data/").map_or(name.to_string(), |rest| format!("entries/{rest}"));
        self.root.join("tile").join(name)
    }

    /// A tile's file and its width: the one asked for or, where that is gone since it was finished or is too old, the one
    /// that the newest head has in its place.
    fn read(&self, tile: &Tile) -> io::Result<(Vec<u8>, u64)> {
        match fs::read(self.path(tile)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && u64::from(tile.width()) < TILE_WIDTH => {
                let count = self.size >> (TILE_HEIGHT * tile.level());
                let width = (count - tile.level_index() * TILE_WIDTH).min(TILE_WIDTH);
                let wider = tile_at(tile.level(), tile.level_index(), width, tile.is_data());
                Ok((fs::read(self.path(&wider))?, width))
            }
            found => Ok((found?, u64::from(tile.width()))),
        }
    }

    /// The first `width` entries of a bundle, after all that its file must hold was read.
    fn read_bundle(&self, number: u64, width: u64) -> Result<Vec<Vec<u8>>> {
        let (data, found) = self.read(&tile_at(0, number, width, true))?;
        let mut rest = &data[..];
        let mut entries = Vec::new();
        for index in 0..found {
            let length = rest.get(..2).ok_or(format!("bundle {number} ends before its entry {index} of {found}"))?;
            let end = 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            let entry = rest.get(2..end).ok_or(format!("bundle {number} ends within its entry {index}"))?;
            entries.push(entry.to_vec());
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            return Err(format!("bundle {number} goes on for {} bytes after its entries", rest.len()).into());
        }
        entries.truncate(usize::try_from(width)?);
        Ok(entries)
    }
}

fn tile_at(level: u8, number: u64, width: u64, is_data: bool) -> Tile {
    Tile::new(TILE_HEIGHT, level, number, u32::try_from(width).expect("a tile is 256 wide"), is_data)
}

impl TileReader for Directory {
    fn height(&self) -> u8 {
        TILE_HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Found<Vec<Vec<u8>>> {
        let unread = |tile: &Tile, why: String| {
            tlog_tiles::Error::InvalidInput(format!("{}: {why}", self.path(tile).display()))
        };
        tiles
            .iter()
            .map(|tile| {
                let (mut data, width) = self.read(tile).map_err(|error| unread(tile, error.to_string()))?;
                if data.len() as u64 != width * HASH_SIZE as u64 {
                    return Err(unread(tile, format!("{} bytes, not {width} hashes", data.len())));
                }
                data.truncate(tile.width() as usize * HASH_SIZE);
                Ok(data)
            })
            .collect()
    }

    fn save_tiles(&self, _tiles: &[Tile], _data: &[Vec<u8>]) {}
}

/// All nodes of a tree, as its entries make them.
struct Nodes(Vec<Hash>);

impl HashReader for Nodes {
    fn read_hashes(&self, indexes: &[u64]) -> Found<Vec<Hash>> {
        indexes
            .iter()
            .map(|index| self.0.get(*index as usize).copied().ok_or(tlog_tiles::Error::IndexesNotInTree))
            .collect()
    }
}

/// Checks one head against the files, twice: from the entries up, where the files must be what the entries make them, and
/// from the signed root down, as a client does that holds nothing but the head.
fn check_tree_of(head: &Head, store: &Directory) -> Result<()> {
    let (records, nodes) = hash_entries(head.size, store)?;
    let root = tree_hash(head.size, &nodes)?;
    if root != head.root {
        return Err(format!("the entries have root {root}, and {} is signed", head.root).into());
    }
    for tile in Tile::new_tiles(TILE_HEIGHT, 0, head.size) {
        if store.read_tiles(&[tile])?[0] != tile.read_data(&nodes)? {
            return Err(format!("{} is not what the entries make it", store.path(&tile).display()).into());
        }
    }
    if head.size == 0 {
        return Ok(());
    }
    let authentic = TileHashReader::new(head.size, head.root, store);
    check_records(&records, &authentic)?;
    check_inclusion(head, &records, &authentic)
}

/// The record hash of each entry, and all nodes of the tree above them.
fn hash_entries(size: u64, store: &Directory) -> Result<(Vec<Hash>, Nodes)> {
    let (mut records, mut nodes) = (Vec::new(), Nodes(Vec::new()));
    for first in (0..size).step_by(TILE_WIDTH as usize) {
        for entry in store.read_bundle(first / TILE_WIDTH, (size - first).min(TILE_WIDTH))? {
            let record = record_hash(&entry);
            let added = stored_hashes_for_record_hash(records.len() as u64, record, &nodes)?;
            records.push(record);
            nodes.0.extend(added);
        }
    }
    Ok((records, nodes))
}

/// Compares each record hash with the one that authenticated tiles have in its place, a bundle at a time.
fn check_records(records: &[Hash], authentic: &TileHashReader) -> Result<()> {
    for (number, part) in records.chunks(TILE_WIDTH as usize).enumerate() {
        let first = number as u64 * TILE_WIDTH;
        let indexes: Vec<u64> = (first..first + part.len() as u64).map(|index| stored_hash_index(0, index)).collect();
        for (at, (found, made)) in authentic.read_hashes(&indexes)?.iter().zip(part).enumerate() {
            if found != made {
                return Err(format!("entry {} is not the one that the tree has there", first + at as u64).into());
            }
        }
    }
    Ok(())
}

/// Proves entries at the edges of the tree and of its first tile, and a sample between them.
fn check_inclusion(head: &Head, records: &[Hash], authentic: &TileHashReader) -> Result<()> {
    let edges = [0, TILE_WIDTH - 1, TILE_WIDTH, head.size - 1];
    let between = (0..SAMPLES).map(|at| head.size / SAMPLES * at);
    for index in edges.into_iter().chain(between).filter(|index| *index < head.size) {
        let record = records[usize::try_from(index)?];
        prove_record(head.size, index, authentic)
            .and_then(|proof| check_record(&proof, head.size, head.root, index, record))
            .map_err(|error| format!("entry {index}: {error}"))?;
    }
    Ok(())
}

/// Proves that a kept head is a prefix of the newest. Of an empty tree there is nothing to prove but its root, which
/// `check_tree_of` compares.
fn check_consistency(old: &Head, newest: &Head, store: &Directory) -> Result<()> {
    if old.size > newest.size {
        return Err(format!("a head of size {} was kept, and the newest has size {}", old.size, newest.size).into());
    }
    if old.size == 0 {
        return Ok(());
    }
    let proof = prove_tree(newest.size, old.size, &TileHashReader::new(newest.size, newest.root, store))?;
    check_tree(&proof, newest.size, newest.root, old.size, old.root).map_err(|error| {
        format!("the head of size {} is not consistent with that of size {}: {error}", old.size, newest.size).into()
    })
}
