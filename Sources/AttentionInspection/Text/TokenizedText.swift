internal import ModelFiles

/// A sentence with its tokens, and where each of them stands in it.
struct TokenizedText {
    let ids: [Int32]
    /// The text of each token; a part of a character as U+FFFD.
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
}
