internal import ModelFiles

/// A sentence with its tokens, and where each of them stands in it.
struct TokenizedText {
    let ids: [Int32]
    /// The text of each token; of tokens that hold parts of a character what they form together, and which part it is.
    let tokenTexts: [String]
    let wordSegments: [Segment]
    let tokenSegments: [Segment]

    init(_ sentence: String, _ tokenizer: any TextTokenizer, contextLength: Int) throws(InspectionError) {
        guard sentence.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else { throw .emptySentence }
        do {
            var ids = try tokenizer.encode(sentence)
            var leading: [Int32] = []
            if tokenizer.addsBeginningOfSequence, let first = tokenizer.beginningOfSequenceID { leading = [first] }
            let leadingTexts = try leading.map { id throws(TokenizerError) in try tokenizer.tokenText(id) }
            guard ids.count + leading.count <= contextLength else {
                throw InspectionError.sentenceTooLong(
                    tokenCount: ids.count + leading.count, contextLength: contextLength)
            }
            // An unknown token stands for other bytes than its own: nothing then tells the words apart.
            let bytes = Array(sentence.utf8)
            guard try tokenizer.decodeBytes(ids) == bytes else {
                throw InspectionError.tokenizer(
                    "The model's vocabulary lacks characters of the sentence. Leave them out, or use another model.")
            }
            var ends: [Int] = []
            var texts = leadingTexts
            for id in ids {
                ends.append((ends.last ?? 0) + (try tokenizer.bytes(of: id).count))
                texts.append(try tokenizer.decode([id]))
            }
            Self.joinParts(&texts, from: leadingTexts.count, of: bytes, ends: ends)
            wordSegments = Segment.words(
                of: bytes, tokenEnds: ends, leadingTokenTexts: leadingTexts)
            tokenSegments = texts.enumerated().map { Segment(text: $1, tokens: $0..<$0 + 1) }
            tokenTexts = texts
            ids.insert(contentsOf: leading, at: 0)
            self.ids = ids
        } catch let error as InspectionError {
            throw error
        } catch {
            throw .tokenizer("\(error)")
        }
    }

    /// Gives tokens that end within a character the text that they form with those after them, as `é (1/2)`.
    private static func joinParts(_ texts: inout [String], from offset: Int, of bytes: [UInt8], ends: [Int]) {
        func isWithinCharacter(_ end: Int) -> Bool { end < bytes.count && bytes[end] & 0xC0 == 0x80 }
        var first = 0
        while first < ends.count {
            var last = first
            while last + 1 < ends.count && isWithinCharacter(ends[last]) { last += 1 }
            if last > first {
                let start = first == 0 ? 0 : ends[first - 1]
                let whole = String(decoding: bytes[start..<ends[last]], as: UTF8.self)
                for token in first...last {
                    texts[offset + token] = "\(whole) (\(token - first + 1)/\(last - first + 1))"
                }
            }
            first = last + 1
        }
    }
}
