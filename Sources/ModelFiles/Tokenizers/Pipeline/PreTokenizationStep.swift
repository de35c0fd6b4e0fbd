/// A step between the normalised text and the pieces that a model takes.
enum PreTokenizationStep: Sendable {
    /// Cuts pieces into smaller ones.
    case split(Splitter)
    /// Puts a mark in the place of each space, and one in front.
    case metaspace(Metaspace)
    /// Puts a space in front of each piece that has none there.
    case leadingSpace

    /// SentencePiece's marking of spaces.
    struct Metaspace: Sendable {
        /// Which pieces get a mark in front, if they have none.
        enum PrependScheme: String, CaseIterable {
            case always, first, never
        }

        let mark: [UInt8]
        let prependScheme: PrependScheme
        let splits: Bool
    }

    /// Whether the step changes the text, and does not only cut it.
    var changesText: Bool {
        if case .split = self { false } else { true }
    }

    /// Writes changed pieces to `output` and notes where they lie there.
    func rewrite(
        _ input: borrowing TextBuffer, _ pieces: [Range<Int>], isFirst: (Range<Int>) -> Bool,
        to output: inout TextBuffer, _ newPieces: inout [Range<Int>]
    ) {
        switch self {
        case .split:
            break
        case .leadingSpace:
            for piece in pieces {
                let start = output.count
                if input.bytes[piece.lowerBound] != 0x20 {
                    let (_, length) = input.bytes.utf8Scalar(at: piece.lowerBound)
                    output.append(byte: 0x20, input.origin(of: piece.lowerBound..<piece.lowerBound + length))
                }
                output.append(input, piece)
                newPieces.append(start..<output.count)
            }
        case .metaspace(let metaspace):
            for piece in pieces {
                metaspace.rewrite(input, piece, isFirst: isFirst(piece), to: &output, &newPieces)
            }
        }
    }
}

extension PreTokenizationStep.Metaspace {
    fileprivate func rewrite(
        _ input: borrowing TextBuffer, _ piece: Range<Int>, isFirst: Bool, to output: inout TextBuffer,
        _ newPieces: inout [Range<Int>]
    ) {
        let text = input.bytes
        var start = output.count
        let prepends =
            switch prependScheme {
            case .always: true
            case .first: isFirst
            case .never: false
            }
        let stretch = UnsafeRawBufferPointer(rebasing: text[piece])
        if prepends, stretch.first != 0x20, !stretch.starts(with: mark) {
            let (_, length) = text.utf8Scalar(at: piece.lowerBound)
            output.append(contentsOf: mark, input.origin(of: piece.lowerBound..<piece.lowerBound + length))
        }
        var offset = piece.lowerBound
        while offset < piece.upperBound {
            var end = offset
            while end < piece.upperBound, text[end] != 0x20, text[end] != mark[0] || !isMark(text, end) { end += 1 }
            output.append(input, offset..<end)
            offset = end
            guard offset < piece.upperBound else { break }
            if splits, output.count > start {
                // A mark begins the next piece.
                newPieces.append(start..<output.count)
                start = output.count
            }
            if text[offset] == 0x20 {
                output.append(contentsOf: mark, input.origin(of: offset..<offset + 1))
                offset += 1
            } else {
                output.append(input, offset..<offset + mark.count)
                offset += mark.count
            }
        }
        if output.count > start { newPieces.append(start..<output.count) }
    }

    private func isMark(_ text: UnsafeRawBufferPointer, _ offset: Int) -> Bool {
        text.count - offset >= mark.count && text[offset..<offset + mark.count].elementsEqual(mark)
    }
}
