/// Texts of tokens by ID, where IDs may be missing, and IDs by text, compared by bytes.
struct TokenTable: Sendable {
    private var texts: ByteStrings
    private var isPresent: [Bool] = []

    /// Creates a table of the given texts, of which the last counts where several are the same.
    init(_ texts: [[UInt8]?]) {
        self.texts = ByteStrings(capacity: texts.count)
        isPresent.reserveCapacity(texts.count)
        for text in texts {
            self.texts.append(text ?? [])
            isPresent.append(text != nil)
            if text != nil { self.texts.indexLast() }
        }
    }

    /// One more than the largest ID.
    var count: Int { isPresent.count }

    /// Returns a token's text, or `nil` where there is no such token.
    subscript(id: Int) -> ArraySlice<UInt8>? {
        guard id >= 0, id < count, isPresent[id] else { return nil }
        return texts[id]
    }

    /// Returns the ID of the token with this text, or -1.
    func id(of text: UnsafeRawBufferPointer) -> Int32 { texts.number(of: text) }

    /// Returns the ID of the token with this text, or -1.
    func id(of text: some Sequence<UInt8>) -> Int32 {
        Array(text).withUnsafeBytes { id(of: $0) }
    }
}
