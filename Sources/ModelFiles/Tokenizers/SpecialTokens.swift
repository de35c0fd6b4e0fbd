/// The tokens that are recognised as wholes in a text, before it is cut into pieces.
struct SpecialTokens: Sendable {
    /// For each byte, the tokens that begin with it, the longest first.
    private let idsByFirstByte: [[Int32]]

    /// Collects the control and user-defined tokens of a vocabulary.
    init(_ vocabulary: Vocabulary) {
        var table = [[Int32]](repeating: [], count: 256)
        for id in 0..<vocabulary.count {
            guard vocabulary.kinds[id] == .control || vocabulary.kinds[id] == .userDefined,
                let first = vocabulary.tokenBytes(id).first
            else { continue }
            table[Int(first)].append(Int32(id))
        }
        for index in table.indices where table[index].count > 1 {
            // By ID among equals, so that the lowest of several with one text is taken.
            table[index].sort {
                let (left, right) = (vocabulary.tokenBytes(Int($0)), vocabulary.tokenBytes(Int($1)))
                return (right.count, $0) < (left.count, $1)
            }
        }
        idsByFirstByte = table
    }

    /// Returns the leftmost token at or after `offset`, the longest of those that begin there, and its range.
    ///
    /// Without `includingControl`, only user-defined tokens count. Takes time in proportion to the text, times the
    /// tokens that begin with one byte.
    func first(
        in text: UnsafeRawBufferPointer, from offset: Int, _ vocabulary: Vocabulary, includingControl: Bool
    ) -> (id: Int32, range: Range<Int>)? {
        var start = offset
        while start < text.count {
            let ids = idsByFirstByte[Int(text[start])]
            if !ids.isEmpty {
                for id in ids where includingControl || vocabulary.kinds[Int(id)] == .userDefined {
                    let bytes = vocabulary.tokenBytes(Int(id))
                    if text.count - start >= bytes.count,
                        text[start..<start + bytes.count].elementsEqual(bytes)
                    {
                        return (id, start..<start + bytes.count)
                    }
                }
            }
            start += 1
        }
        return nil
    }

    /// Returns the token with exactly this text, or `nil`.
    func id(of text: UnsafeRawBufferPointer, _ vocabulary: Vocabulary) -> Int32? {
        guard let first = text.first else { return nil }
        return idsByFirstByte[Int(first)].first { vocabulary.tokenBytes(Int($0)).elementsEqual(text) }
    }
}
