/// The tokens of a byte-level vocabulary, found by ID or by their bytes.
struct Vocabulary: Sendable {
    /// What a token is for; the raw values are those of GGUF's `token_type`.
    enum Kind: UInt8 {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    /// All tokens' bytes, one after another; token i has `starts[i]..<starts[i + 1]`.
    private(set) var bytes: [UInt8] = []
    private(set) var starts: [Int] = [0]
    private(set) var kinds: [Kind] = []
    /// Whether each token's text is in the byte alphabet, and not to be taken literally.
    private(set) var isByteLevel: [Bool] = []

    /// Open addressing with linear probing over the byte-level tokens: an ID, or -1 for a free slot.
    ///
    /// `Hasher` is seeded anew in every process, so a file cannot be made to collide.
    private var slots: [Int32]
    private var mask: Int { slots.count - 1 }

    /// Creates an empty vocabulary with room for `capacity` tokens.
    init(capacity: Int) {
        var slotCount = 16
        while slotCount < 2 * capacity { slotCount *= 2 }
        slots = [Int32](repeating: -1, count: slotCount)
        starts.reserveCapacity(capacity + 1)
        kinds.reserveCapacity(capacity)
        isByteLevel.reserveCapacity(capacity)
        bytes.reserveCapacity(capacity * 8)
    }

    var count: Int { kinds.count }

    /// Appends a token, whose ID is the count before.
    ///
    /// At most `capacity` tokens may be appended.
    ///
    /// A normal token whose text is outside the byte alphabet stands for its text, as in the reference
    /// implementation; since no merge can make it, only decoding meets it.
    mutating func append(text: UnsafeRawBufferPointer, kind: Kind) throws(TokenizerError) {
        let id = count
        guard text.offsetOfInvalidUTF8 == nil else { throw .tokenNotUTF8(id: id) }
        let start = bytes.count
        let isSpecial = kind == .control || kind == .userDefined || kind == .unknown
        let isDecoded = !isSpecial && ByteAlphabet.decode(text, into: &bytes)
        if !isDecoded { bytes.append(contentsOf: text) }
        starts.append(bytes.count)
        kinds.append(kind)
        isByteLevel.append(isDecoded)
        // Some files pad their vocabulary with tokens without text; no text leads to them.
        guard isDecoded, bytes.count > start else { return }

        let slot = bytes.withUnsafeBytes { bytes in
            self.slot(of: UnsafeRawBufferPointer(rebasing: bytes[start...]))
        }
        if slots[slot] >= 0 {
            throw .duplicateToken(text: self.text(of: id), firstID: Int(slots[slot]), secondID: id)
        }
        slots[slot] = Int32(id)
    }

    /// Returns the ID of the byte-level token with these bytes, or -1.
    func id(of bytes: UnsafeRawBufferPointer) -> Int32 {
        slots[slot(of: bytes)]
    }

    /// The bytes that a token stands for.
    func tokenBytes(_ id: Int) -> ArraySlice<UInt8> {
        bytes[starts[id]..<starts[id + 1]]
    }

    /// How the file writes a token.
    func text(of id: Int) -> String {
        isByteLevel[id]
            ? ByteAlphabet.encode(tokenBytes(id)) : String(decoding: tokenBytes(id), as: UTF8.self)
    }

    /// The slot that holds the token with these bytes, or the free one where it belongs.
    private func slot(of key: UnsafeRawBufferPointer) -> Int {
        var hasher = Hasher()
        hasher.combine(bytes: key)
        var slot = hasher.finalize() & mask
        // At least half of the slots are free, so the walk ends.
        while slots[slot] >= 0, !isToken(Int(slots[slot]), key) {
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func isToken(_ id: Int, _ key: UnsafeRawBufferPointer) -> Bool {
        let start = starts[id]
        guard starts[id + 1] - start == key.count else { return false }
        for index in 0..<key.count where bytes[start + index] != key[index] {
            return false
        }
        return true
    }
}
