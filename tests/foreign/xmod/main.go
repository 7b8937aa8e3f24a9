// Command xmod checks a log of affidavit with code that is none of affidavit's: sumdb/note and sumdb/tlog of
// golang.org/x/mod, by which Go's own checksum database is checked.
//
//	xmod TREE VKEYS [HEAD ...]
//
// TREE is the servable tree of a log (logs/<log>/tree), VKEYS a file whose first line is the log's Ed25519 verifier key,
// and each HEAD a signed head of the same log that was kept (logs/<log>/heads/<size>). The exit code is 0 if everything
// holds, 1 if something does not, 2 if the program was called wrongly.
//
// It demands, of the newest head and of each that was kept: a valid Ed25519 signature (lines of other keys are left
// alone); bundles and tiles that are exactly what the entries make them, up to the signed root; each entry's record hash
// where the tiles, authenticated from the root down, have it; inclusion proofs of a sample; and of each kept head, a
// consistency proof to the newest.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight  = 8
	tileWidth   = 1 << tileHeight
	bundleLevel = -1 // as sumdb/tlog has it: raw data instead of hashes
	samples     = 16 // entries of a head, besides those at edges, whose inclusion is proved
)

// A head is what a checkpoint says, after its signature was verified.
type head struct {
	tlog.Tree
	unknown int // signature lines of keys that we do not have
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: xmod TREE VKEYS [HEAD ...]")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "xmod:", err)
		os.Exit(1)
	}
}

func check(tree, vkeys string, kept []string) error {
	verifier, err := readVerifier(vkeys)
	if err != nil {
		return err
	}
	newest, err := readHead(filepath.Join(tree, "checkpoint"), verifier)
	if err != nil {
		return err
	}
	store := directory{root: tree, size: newest.N}
	heads := []head{newest}
	for _, name := range kept {
		old, err := readHead(name, verifier)
		if err != nil {
			return err
		}
		if err := checkConsistency(old.Tree, newest.Tree, store); err != nil {
			return err
		}
		heads = append(heads, old)
	}
	for _, h := range heads {
		if err := checkTree(h.Tree, store); err != nil {
			return fmt.Errorf("head of size %d: %w", h.N, err)
		}
	}
	fmt.Printf("verified %s with size %d: %d kept heads are consistent, %d unknown signature lines were left alone\n",
		verifier.Name(), newest.N, len(kept), newest.unknown)
	return nil
}

func readVerifier(name string) (note.Verifier, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return note.NewVerifier(line)
}

func readHead(name string, verifier note.Verifier) (head, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return head{}, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return head{}, fmt.Errorf("%s: %w", name, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifier.Name() {
		return head{}, fmt.Errorf("%s is no checkpoint of %s without extension lines", name, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return head{}, fmt.Errorf("%s: %q is no size", name, lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return head{}, fmt.Errorf("%s: %w", name, err)
	}
	return head{tlog.Tree{N: size, Hash: root}, len(opened.UnverifiedSigs)}, nil
}

// A directory reads the files of a tree under their tlog-tiles names. It is the reader that tlog.TileHashReader takes.
type directory struct {
	root string
	size int64 // of the newest head: it tells how wide the last tile of each level has become
}

// path spells a tile as tlog-tiles does: without the height, and with "entries" for Go's "data".
func (d directory) path(tile tlog.Tile) string {
	name := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight))
	if rest, ok := strings.CutPrefix(name, "data/"); ok {
		name = "entries/" + rest
	}
	return filepath.Join(d.root, "tile", filepath.FromSlash(name))
}

// read returns a tile's file and the tile that it is: the one asked for or, where that is gone since it was finished or
// is too old, the one that the newest head has in its place.
func (d directory) read(tile tlog.Tile) ([]byte, tlog.Tile, error) {
	data, err := os.ReadFile(d.path(tile))
	if errors.Is(err, fs.ErrNotExist) && tile.W < tileWidth {
		count := d.size
		for range tile.L {
			count >>= tileHeight
		}
		tile.W = int(min(count-tile.N*tileWidth, tileWidth))
		data, err = os.ReadFile(d.path(tile))
	}
	return data, tile, err
}

func (d directory) Height() int { return tileHeight }

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	rows := make([][]byte, len(tiles))
	for i, tile := range tiles {
		data, found, err := d.read(tile)
		if err != nil {
			return nil, err
		}
		if len(data) != found.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes, not %d hashes", d.path(found), len(data), found.W)
		}
		rows[i] = data[:tile.W*tlog.HashSize]
	}
	return rows, nil
}

// readBundle returns the first width entries of a bundle, after it has read all that its file must hold.
func (d directory) readBundle(n int64, width int) ([][]byte, error) {
	data, found, err := d.read(tlog.Tile{H: tileHeight, L: bundleLevel, N: n, W: width})
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, 0, found.W)
	for range found.W {
		if len(data) < 2 {
			return nil, fmt.Errorf("%s ends before its entry %d of %d", d.path(found), len(entries), found.W)
		}
		length := int(binary.BigEndian.Uint16(data))
		if len(data) < 2+length {
			return nil, fmt.Errorf("%s ends within its entry %d", d.path(found), len(entries))
		}
		entries = append(entries, data[2:2+length])
		data = data[2+length:]
	}
	if len(data) != 0 {
		return nil, fmt.Errorf("%s goes on for %d bytes after its %d entries", d.path(found), len(data), found.W)
	}
	return entries[:width], nil
}

// checkTree checks one head against the files, twice: from the entries up, where the files must be what the entries make
// them, and from the signed root down, as a client does that holds nothing but the head.
func checkTree(tree tlog.Tree, store directory) error {
	records, nodes, err := hashEntries(tree.N, store)
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(tree.N, nodes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the entries have root %v, and %v is signed", root, tree.Hash)
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, tree.N) {
		made, err := tlog.ReadTileData(tile, nodes)
		if err != nil {
			return err
		}
		read, err := store.ReadTiles([]tlog.Tile{tile})
		if err != nil {
			return err
		}
		if string(read[0]) != string(made) {
			return fmt.Errorf("%s is not what the entries make it", store.path(tile))
		}
	}
	if tree.N == 0 {
		return nil
	}
	authentic := tlog.TileHashReader(tree, store)
	if err := checkRecords(records, authentic); err != nil {
		return err
	}
	return checkInclusion(tree, records, authentic)
}

// hashEntries returns the record hash of each entry, and all nodes of the tree above them.
func hashEntries(size int64, store directory) ([]tlog.Hash, tlog.HashReader, error) {
	var records, stored []tlog.Hash
	nodes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index >= int64(len(stored)) {
				return nil, fmt.Errorf("a tree of %d entries has no stored hash %d", len(records), index)
			}
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for first := int64(0); first < size; first += tileWidth {
		entries, err := store.readBundle(first/tileWidth, int(min(size-first, tileWidth)))
		if err != nil {
			return nil, nil, err
		}
		for _, entry := range entries {
			record := tlog.RecordHash(entry)
			added, err := tlog.StoredHashesForRecordHash(int64(len(records)), record, nodes)
			if err != nil {
				return nil, nil, err
			}
			records = append(records, record)
			stored = append(stored, added...)
		}
	}
	return records, nodes, nil
}

// checkRecords compares each record hash with the one that authenticated tiles have in its place, a bundle at a time.
func checkRecords(records []tlog.Hash, authentic tlog.HashReader) error {
	for first := 0; first < len(records); first += tileWidth {
		part := records[first:min(first+tileWidth, len(records))]
		indexes := make([]int64, len(part))
		for i := range part {
			indexes[i] = tlog.StoredHashIndex(0, int64(first+i))
		}
		hashes, err := authentic.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, hash := range hashes {
			if hash != part[i] {
				return fmt.Errorf("entry %d is not the one that the tree has there", first+i)
			}
		}
	}
	return nil
}

// checkInclusion proves entries at the edges of the tree and of its first tile, and a sample between them.
func checkInclusion(tree tlog.Tree, records []tlog.Hash, authentic tlog.HashReader) error {
	chosen := []int64{0, tileWidth - 1, tileWidth, tree.N - 1}
	for i := range int64(samples) {
		chosen = append(chosen, tree.N/samples*i)
	}
	for _, index := range chosen {
		if index >= tree.N {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, index, authentic)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, records[index]); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return nil
}

// checkConsistency proves that a kept head is a prefix of the newest. Of an empty tree there is nothing to prove but its
// root, which checkTree compares.
func checkConsistency(old, newest tlog.Tree, store directory) error {
	if old.N > newest.N {
		return fmt.Errorf("a head of size %d was kept, and the newest has size %d", old.N, newest.N)
	}
	if old.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(newest.N, old.N, tlog.TileHashReader(newest, store))
	if err != nil {
		return fmt.Errorf("head of size %d: %w", old.N, err)
	}
	if err := tlog.CheckTree(proof, newest.N, newest.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("the head of size %d is not consistent with that of size %d: %w", old.N, newest.N, err)
	}
	return nil
}
