/// Builds a tokenizer from a parsed `tokenizer.json`, and refuses what it does not understand, by name.
struct PipelineReader {
    typealias Problem = TokenizerFileError.Problem

    private let json: JSONValue

    init(_ json: JSONValue) {
        self.json = json
    }

    /// Reads the tokenizer.
    ///
    /// - Throws: `TokenizerFileError.Problem`, `TokenizerError`.
    func tokenizer() throws -> PipelineTokenizer {
        let file = try Component(json, "the file")
        _ = file["version"]
        let normalizers = try file["normalizer"].map { try self.normalizers($0, "normalizer") } ?? []
        var cutting = Cutting()
        if let value = file["pre_tokenizer"] { try read(value, "pre_tokenizer", into: &cutting) }
        guard let model = file["model"] else { throw Problem.malformed(field: "model", wanted: "an object") }
        let read = try self.model(Component(model, "model"), isByteLevel: cutting.isByteLevel)
        let added = try addedTokens(file["added_tokens"], read.vocabulary)
        var texts = read.vocabulary.texts
        for token in added {
            while texts.count <= token.id { texts.append(nil) }
            // As that package has it, a token that is looked for in normalised text becomes such text again.
            texts[Int(token.id)] = token.isNormalized ? try normalized(token.text, normalizers) : token.text
        }
        var isSpecial = [Bool](repeating: false, count: texts.count)
        for token in added where token.isSpecial { isSpecial[Int(token.id)] = true }
        let table = TokenTable(texts)
        let parts = PipelineTokenizer.Parts(
            added: try AddedTokens(added) { try normalized($0, normalizers) }, normalizers: normalizers,
            steps: cutting.steps, model: read.model, decoder: try decoder(file["decoder"]), texts: table,
            isSpecial: isSpecial)
        let template = try file["post_processor"].map { try self.template($0, "post_processor", table) }
        let truncation = try file["truncation"].map { try self.truncation($0) }
        let padding = try file["padding"].map { try self.padding($0, table) }
        try file.finish()
        var roles = PipelineTokenizer.Roles()
        roles.unknownID = read.unknownID
        roles.beginningOfSequenceID = template?.prefix.first
        roles.endOfSequenceID = template?.suffix.last
        roles.paddingID = padding?.id
        // The format itself does not say which token ends a text or fills up; these are customs.
        func special(_ text: String) -> Int32? {
            let id = table.id(of: text.utf8)
            return id >= 0 && isSpecial[Int(id)] ? id : nil
        }
        roles.endOfSequenceID = roles.endOfSequenceID ?? special("<|endoftext|>") ?? special("</s>")
        roles.paddingID = roles.paddingID ?? special("[PAD]") ?? special("<pad>")
        return PipelineTokenizer(
            parts: parts, template: template ?? .init(), truncation: truncation, padding: padding, roles: roles,
            json: json)
    }

    private func normalized(_ text: [UInt8], _ normalizers: [Normalizer]) throws -> [UInt8] {
        var input = TextBuffer()
        var output = TextBuffer()
        text.withUnsafeBytes { bytes in input.append(bytes) { _ in TextBuffer.Origin(start: 0, end: 0) } }
        for normalizer in normalizers {
            output.removeAll(trackingOrigins: false)
            normalizer.apply(input, to: &output)
            if output.isOverfull {
                throw TokenizerError.normalizedTextTooLong(limit: TextBuffer.maximumCount)
            }
            swap(&input, &output)
        }
        return Array(input.bytes)
    }

    // MARK: - Normalizers

    private func normalizers(_ value: JSONValue, _ name: String) throws -> [Normalizer] {
        let component = try Component(value, name)
        let type = try component.type()
        let result: [Normalizer]
        switch type {
        case "Sequence":
            result = try component.array("normalizers").enumerated().flatMap { index, value in
                try normalizers(value, "\(name).normalizers[\(index)]")
            }
        case "BertNormalizer":
            result = [
                .bert(
                    BERTNormalizer(
                        cleansText: try component.flag("clean_text", default: true),
                        separatesIdeographs: try component.flag("handle_chinese_chars", default: true),
                        stripsAccents: component["strip_accents"] == nil ? nil : try component.flag("strip_accents"),
                        lowercases: try component.flag("lowercase", default: true)))
            ]
        case "Strip":
            result = [
                .strip(left: try component.flag("strip_left"), right: try component.flag("strip_right"))
            ]
        case "StripAccents": result = [.stripMarks]
        case "Lowercase": result = [.lowercase]
        case "NFC": result = [.unicode(compatibility: false, composed: true)]
        case "NFD": result = [.unicode(compatibility: false, composed: false)]
        case "NFKC": result = [.unicode(compatibility: true, composed: true)]
        case "NFKD": result = [.unicode(compatibility: true, composed: false)]
        case "Nmt": result = [.machineTranslation]
        case "Prepend": result = [.prepend(Array(try component.string("prepend").utf8))]
        case "Replace":
            result = [.replace(try pattern(component), with: Array(try component.string("content").utf8))]
        case "Precompiled":
            let text = try component.string("precompiled_charsmap")
            guard let bytes = Base64.decode(text.utf8), let map = PrecompiledCharacterMap(bytes) else {
                throw Problem.malformed(field: "\(name).precompiled_charsmap", wanted: "a trie in base 64")
            }
            result = [.characterMap(map)]
        default: throw Problem.unsupported(field: "\(name).type", value: type)
        }
        try component.finish()
        return result
    }

    /// The patterns of `Replace` and `Split`, of which only those in use are known.
    private func pattern(_ component: Component) throws -> TextPattern {
        let field = "\(component.name).pattern"
        let value = try Component(component["pattern"] ?? .null, field)
        if let literal = value["String"] {
            guard let text = literal.stringValue, !text.isEmpty else {
                throw Problem.malformed(field: field, wanted: "a text that is not empty")
            }
            try value.finish()
            return .literal(Array(text.utf8))
        }
        let expression = try value.string("Regex")
        try value.finish()
        switch expression {
        case " {2,}": return .run(of: 0x20, atLeast: 2)
        case " +": return .run(of: 0x20, atLeast: 1)
        case "\\s+": return .whitespace
        default: throw Problem.unsupported(field: field, value: "the regular expression \(expression)")
        }
    }

    // MARK: - Pre-tokenizers

    private struct Cutting {
        var steps: [PreTokenizationStep] = []
        /// Whether the pieces' bytes are written in GPT-2's alphabet, which is then the last step.
        var isByteLevel = false
    }

    private static let gpt4 =
        #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    private static let piecePatterns: [(String, PiecePattern)] = [
        (#"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
        (contractions + gpt4, .gpt4(digits: 3)),
        (contractions + gpt4.replacing("{1,3}", with: ""), .gpt4(digits: 1)),
        // With possessive quantifiers and one line break less, which comes to the same.
        (
            contractions
                + #"|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#,
            .gpt4(digits: 3)
        ),
    ]

    private func read(_ value: JSONValue, _ name: String, into cutting: inout Cutting) throws {
        guard !cutting.isByteLevel else {
            throw Problem.unsupported(field: name, value: "a step behind ByteLevel")
        }
        let component = try Component(value, name)
        let type = try component.type()
        func append(_ matcher: Splitter.Matcher, _ behavior: Splitter.Behavior, isInverted: Bool = false) {
            cutting.steps.append(.split(Splitter(matcher: matcher, behavior: behavior, isInverted: isInverted)))
        }
        switch type {
        case "Sequence":
            for (index, value) in try component.array("pretokenizers").enumerated() {
                try read(value, "\(name).pretokenizers[\(index)]", into: &cutting)
            }
        case "BertPreTokenizer": append(.bert, .isolated)
        case "Whitespace": append(.words, .removed, isInverted: true)
        case "WhitespaceSplit": append(.classes(.whitespace), .removed)
        case "Punctuation": append(.classes(.punctuation), try behavior(component, default: .isolated))
        case "Digits":
            append(.classes(.digit), try component.flag("individual_digits", default: false) ? .isolated : .contiguous)
        case "CharDelimiterSplit":
            append(.character(try component.character("delimiter")), .removed)
        case "FixedLength":
            let length = try component.integer("length", default: 5, in: 1...Int64(Int32.max))
            append(.length(length), .isolated)
        case "Split":
            let behavior = try self.behavior(component, default: nil)
            append(try matcher(component), behavior, isInverted: try component.flag("invert", default: false))
        case "Metaspace":
            _ = component["str_rep"]
            var mark = String.UnicodeScalarView()
            // The parser has seen that it is a scalar.
            mark.append(Unicode.Scalar(try component.character("replacement")) ?? "\u{2581}")
            cutting.steps.append(
                .metaspace(
                    PreTokenizationStep.Metaspace(
                        mark: Array(String(mark).utf8), prependScheme: try prependScheme(component),
                        splits: try component.flag("split", default: true))))
        case "ByteLevel":
            _ = component["trim_offsets"]
            if try component.flag("add_prefix_space", default: true) { cutting.steps.append(.leadingSpace) }
            if try component.flag("use_regex", default: true) { append(.pieces(.gpt2), .isolated) }
            cutting.isByteLevel = true
        default: throw Problem.unsupported(field: "\(name).type", value: type)
        }
        try component.finish()
    }

    private func matcher(_ component: Component) throws -> Splitter.Matcher {
        if let expression = component["pattern"]?["Regex"]?.stringValue {
            for (text, pattern) in Self.piecePatterns where ExactString(text) == ExactString(expression) {
                return .pieces(pattern)
            }
        }
        return .pattern(try pattern(component))
    }

    private func behavior(_ component: Component, default: Splitter.Behavior?) throws -> Splitter.Behavior {
        if component["behavior"] == nil, let behavior = `default` { return behavior }
        let name = try component.string("behavior")
        guard let behavior = Splitter.Behavior(rawValue: name) else {
            throw Problem.unsupported(field: "\(component.name).behavior", value: name)
        }
        return behavior
    }

    private func prependScheme(
        _ component: Component
    ) throws -> PreTokenizationStep.Metaspace.PrependScheme {
        let isPrefixed = try component.flag("add_prefix_space", default: true)
        guard component["prepend_scheme"] != nil else { return isPrefixed ? .always : .never }
        let name = try component.string("prepend_scheme")
        guard let scheme = PreTokenizationStep.Metaspace.PrependScheme(rawValue: name) else {
            throw Problem.unsupported(field: "\(component.name).prepend_scheme", value: name)
        }
        return scheme
    }

    // MARK: - Models

    private struct Model {
        var model: TokenModel
        var vocabulary: ModelVocabulary
        var unknownID: Int32?
    }

    /// A model's texts by ID, and IDs by text.
    private struct ModelVocabulary {
        var texts: [[UInt8]?]
        var table: TokenTable
        /// The texts that text may become.
        ///
        /// All but those of special tokens, which are found before the model sees a text, or where the caller allows none,
        /// not at all. The token for what is unknown is no such token.
        private(set) var plainTexts: [[UInt8]?]
        private(set) var plainTable: TokenTable

        init(_ texts: [[UInt8]?]) throws {
            guard !texts.isEmpty else { throw TokenizerError.emptyVocabulary }
            self.texts = texts
            table = TokenTable(texts)
            (plainTexts, plainTable) = (texts, table)
        }

        mutating func hide(_ special: [[UInt8]], but unknownID: Int32?) {
            let ids = special.map { table.id(of: $0) }.filter { $0 >= 0 && $0 != unknownID }
            guard !ids.isEmpty else { return }
            for id in ids { plainTexts[Int(id)] = nil }
            plainTable = TokenTable(plainTexts)
        }

        var byteFallback: [Int32] {
            (0...0xFF).map { (byte: UInt8) in
                let digits = String(byte, radix: 16, uppercase: true)
                return plainTable.id(of: "<0x\(digits.utf8.count < 2 ? "0" : "")\(digits)>".utf8)
            }
        }
    }

    private func model(_ component: Component, isByteLevel: Bool) throws -> Model {
        // Old files do not name the type.
        let type =
            if component["type"] != nil {
                try component.type()
            } else if component["merges"] != nil {
                "BPE"
            } else if component["vocab"]?.arrayValue != nil {
                "Unigram"
            } else {
                component["max_input_chars_per_word"] != nil ? "WordPiece" : "WordLevel"
            }
        if isByteLevel, type != "BPE" {
            throw Problem.unsupported(field: "model.type", value: "\(type) behind the pre-tokenizer ByteLevel")
        }
        let model: Model
        switch type {
        case "BPE": model = try bytePair(component, isByteLevel: isByteLevel)
        case "WordPiece":
            var vocabulary = try self.vocabulary(component)
            let unknown = try self.unknown(component, vocabulary)
            vocabulary.hide(specialTexts, but: unknown)
            let prefix = try component.string("continuing_subword_prefix", default: "##")
            let maximum = try component.integer("max_input_chars_per_word", default: 100, in: 0...Int64(Int32.max))
            model = Model(
                model: .wordPiece(
                    WordPieceModel(
                        keys: vocabulary.plainTable, prefix: Array(prefix.utf8), unknownID: unknown,
                        maximumCharacterCount: maximum)),
                vocabulary: vocabulary, unknownID: unknown)
        case "WordLevel":
            var vocabulary = try self.vocabulary(component)
            let unknown = try self.unknown(component, vocabulary)
            vocabulary.hide(specialTexts, but: unknown)
            model = Model(
                model: .wordLevel(WordLevelModel(keys: vocabulary.plainTable, unknownID: unknown)),
                vocabulary: vocabulary, unknownID: unknown)
        case "Unigram": model = try unigram(component)
        default: throw Problem.unsupported(field: "model.type", value: type)
        }
        try component.finish()
        return model
    }

    private func vocabulary(_ component: Component) throws -> ModelVocabulary {
        guard let members = component["vocab"]?.objectValue?.members else {
            throw Problem.malformed(field: "model.vocab", wanted: "an object of IDs")
        }
        let malformed = Problem.malformed(
            field: "model.vocab", wanted: "an object of distinct IDs from 0 on, few of them left out")
        var texts: [[UInt8]?] = []
        // So much memory as the file's length allows.
        let limit = 2 * members.count + 1024
        texts.reserveCapacity(members.count)
        for (text, id) in members {
            guard let id = id.integerValue, id >= 0, id < limit else { throw malformed }
            while texts.count <= id { texts.append(nil) }
            guard texts[Int(id)] == nil else { throw malformed }
            texts[Int(id)] = Array(text.utf8)
        }
        return try ModelVocabulary(texts)
    }

    private func unknown(_ component: Component, _ vocabulary: ModelVocabulary) throws -> Int32 {
        let id = vocabulary.table.id(of: try component.string("unk_token").utf8)
        guard id >= 0 else { throw Problem.malformed(field: "model.unk_token", wanted: "a token of the vocabulary") }
        return id
    }

    private func unigram(_ component: Component) throws -> Model {
        let malformed = Problem.malformed(field: "model.vocab", wanted: "an array of pairs of text and number")
        guard let entries = component["vocab"]?.arrayValue, entries.count <= Int32.max else { throw malformed }
        var texts: [[UInt8]?] = []
        var scores: [Double] = []
        for entry in entries {
            guard let pair = entry.arrayValue, pair.count == 2, let text = pair[0].stringValue,
                let score = pair[1].doubleValue
            else { throw malformed }
            texts.append(Array(text.utf8))
            scores.append(score)
        }
        var vocabulary = try ModelVocabulary(texts)
        var unknown: Int32?
        if component["unk_id"] != nil {
            unknown = Int32(
                truncatingIfNeeded: try component.integer("unk_id", default: 0, in: 0...Int64(texts.count - 1)))
        }
        vocabulary.hide(specialTexts, but: unknown)
        let fallback = try component.flag("byte_fallback", default: false) ? vocabulary.byteFallback : nil
        return Model(
            model: .unigram(
                UnigramModel(keys: vocabulary.plainTable, scores: scores, unknownID: unknown, byteFallback: fallback)),
            vocabulary: vocabulary, unknownID: unknown)
    }

    private func bytePair(_ component: Component, isByteLevel: Bool) throws -> Model {
        if let dropout = component["dropout"], dropout.doubleValue != 0 {
            throw Problem.unsupported(field: "model.dropout", value: "set")
        }
        var vocabulary = try self.vocabulary(component)
        let prefix = Array(try component.string("continuing_subword_prefix", default: "").utf8)
        let suffix = Array(try component.string("end_of_word_suffix", default: "").utf8)
        if isByteLevel, !(prefix.isEmpty && suffix.isEmpty) {
            throw Problem.unsupported(
                field: "model.end_of_word_suffix", value: "set behind the pre-tokenizer ByteLevel")
        }
        let unknown = component["unk_token"] == nil ? nil : try self.unknown(component, vocabulary)
        vocabulary.hide(specialTexts, but: unknown)
        var keys = vocabulary.plainTable
        if isByteLevel {
            // Texts outside the alphabet stand in no piece.
            keys = TokenTable(
                vocabulary.plainTexts.map { text in
                    var bytes: [UInt8] = []
                    let isDecoded = text?.withUnsafeBytes { ByteAlphabet.decode($0, into: &bytes) } ?? false
                    return isDecoded ? bytes : nil
                })
        }
        let bytes = UInt8(0)...0xFF
        let alphabet: BytePairModel.Alphabet =
            isByteLevel
            ? .bytes(bytes.map { keys.id(of: [$0]) })
            : .characters(ascii: bytes.map { $0 < 0x80 ? keys.id(of: [$0]) : -1 })
        return Model(
            model: .bytePair(
                BytePairModel(
                    keys: keys, merges: try merges(component, vocabulary, prefix), alphabet: alphabet,
                    unknownID: unknown, fusesUnknown: try component.flag("fuse_unk", default: false),
                    byteFallback: try component.flag("byte_fallback", default: false) ? vocabulary.byteFallback : nil,
                    ignoresMerges: try component.flag("ignore_merges", default: false), prefix: prefix,
                    suffix: suffix)),
            vocabulary: vocabulary, unknownID: unknown)
    }

    private func merges(
        _ component: Component, _ vocabulary: ModelVocabulary, _ prefix: [UInt8]
    ) throws -> MergeTable {
        guard let lines = component["merges"]?.arrayValue, lines.count <= Int32.max else {
            throw Problem.malformed(field: "model.merges", wanted: "an array of pairs")
        }
        var merges = MergeTable(capacity: lines.count)
        // The table keeps the first of a pair, and the package `tokenizers` the last.
        for (index, line) in lines.enumerated().reversed() {
            var parts: [[UInt8]] = []
            if let text = line.stringValue {
                // As files were before tokenizers 0.20, in which no token has a space.
                parts = text.utf8.split(separator: 0x20, omittingEmptySubsequences: false).map { Array($0) }
            } else if let texts = line.arrayValue {
                parts = texts.compactMap { $0.stringValue.map { Array($0.utf8) } }
                if parts.count != texts.count { parts = [] }
            }
            func text() -> String { parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ") }
            guard parts.count == 2, parts[1].count >= prefix.count else {
                throw TokenizerError.malformedMerge(index: index, text: text())
            }
            let merged = parts[0] + parts[1].dropFirst(prefix.count)
            let needed = [parts[0], parts[1], merged]
            let ids = needed.map { vocabulary.table.id(of: $0) }
            if let missing = ids.firstIndex(of: -1) {
                throw TokenizerError.mergeNotInVocabulary(
                    index: index, text: text(), missing: String(decoding: needed[missing], as: UTF8.self))
            }
            // No merge makes a special token.
            guard vocabulary.plainTexts[Int(ids[2])] != nil else { continue }
            let merge = MergeTable.Merge(rank: Int32(truncatingIfNeeded: index), id: ids[2])
            merges.insert(left: ids[0], right: ids[1], merge)
        }
        return merges
    }

    // MARK: - Added tokens

    /// The texts of special tokens.
    private var specialTexts: [[UInt8]] {
        (json["added_tokens"]?.arrayValue ?? []).filter { $0["special"] == .boolean(true) }
            .compactMap { $0["content"]?.stringValue.map { Array($0.utf8) } }
    }

    private func addedTokens(_ value: JSONValue?, _ vocabulary: ModelVocabulary) throws -> [AddedTokens.Token] {
        guard let value else { return [] }
        guard let values = value.arrayValue else {
            throw Problem.malformed(field: "added_tokens", wanted: "an array of objects")
        }
        var texts: [Int32: [UInt8]] = [:]
        var seen = Set<[UInt8]>()
        let limit = 2 * (vocabulary.texts.count + values.count) + 1024
        return try values.enumerated().map { index, value in
            let component = try Component(value, "added_tokens[\(index)]")
            let text = Array(try component.string("content").utf8)
            let id = Int32(
                truncatingIfNeeded: try component.integer("id", default: nil, in: 0...Int64(limit)))
            let known = vocabulary.table.id(of: text)
            let isTaken = id < vocabulary.texts.count && vocabulary.texts[Int(id)].map { $0 != text } ?? false
            guard !text.isEmpty, known < 0 || known == id, !isTaken, texts[id] == nil, seen.insert(text).inserted else {
                throw Problem.malformed(
                    field: component.name, wanted: "a text and an ID that no other token has, or that it has itself")
            }
            texts[id] = text
            let token = AddedTokens.Token(
                id: id, text: text, isSpecial: try component.flag("special", default: false),
                stripsLeft: try component.flag("lstrip", default: false),
                stripsRight: try component.flag("rstrip", default: false),
                isSingleWord: try component.flag("single_word", default: false),
                isNormalized: try component.flag("normalized", default: true))
            try component.finish()
            return token
        }
    }

    // MARK: - Templates

    private func template(
        _ value: JSONValue, _ name: String, _ table: TokenTable
    ) throws -> TokenTemplate {
        let component = try Component(value, name)
        let type = try component.type()
        var template = TokenTemplate()
        switch type {
        case "Sequence":
            // Each puts its tokens around those of the one before.
            let templates = try component.array("processors").enumerated().map { index, value in
                try self.template(value, "\(name).processors[\(index)]", table)
            }
            template.prefix = templates.reversed().flatMap(\.prefix)
            template.suffix = templates.flatMap(\.suffix)
        case "ByteLevel":
            for key in ["add_prefix_space", "trim_offsets", "use_regex"] { _ = component[key] }
        case "BertProcessing", "RobertaProcessing":
            for key in ["add_prefix_space", "trim_offsets"] { _ = component[key] }
            template.prefix = [try pairedID(component, "cls", table)]
            template.suffix = [try pairedID(component, "sep", table)]
        case "TemplateProcessing":
            _ = component["pair"]
            template = try singleTemplate(component, table)
        default: throw Problem.unsupported(field: "\(name).type", value: type)
        }
        try component.finish()
        return template
    }

    /// An ID that stands behind its text in a pair.
    private func pairedID(_ component: Component, _ key: String, _ table: TokenTable) throws -> Int32 {
        guard let pair = component[key]?.arrayValue, pair.count == 2, pair[0].stringValue != nil else {
            throw Problem.malformed(field: "\(component.name).\(key)", wanted: "a text and its ID")
        }
        return try id(pair[1], "\(component.name).\(key)", table)
    }

    private func id(_ value: JSONValue, _ field: String, _ table: TokenTable) throws -> Int32 {
        guard let id = value.integerValue, id >= 0, id < table.count, table[Int(id)] != nil else {
            throw Problem.malformed(field: field, wanted: "the ID of a token")
        }
        return Int32(truncatingIfNeeded: id)
    }

    private func singleTemplate(
        _ component: Component, _ table: TokenTable
    ) throws -> TokenTemplate {
        let name = component.name
        let tokens = component["special_tokens"]?.objectValue
        var template = TokenTemplate()
        var hasText = false
        for (index, piece) in try component.array("single").enumerated() {
            let field = "\(name).single[\(index)]"
            if piece["Sequence"] != nil {
                guard !hasText, piece["Sequence"]?["id"] == .string("A") else {
                    throw Problem.unsupported(field: field, value: "other than one sequence A")
                }
                hasText = true
            } else if let text = piece["SpecialToken"]?["id"]?.stringValue,
                let ids = tokens?[text]?["ids"]?.arrayValue
            {
                let ids = try ids.map { try id($0, "\(name).special_tokens", table) }
                if hasText { template.suffix += ids } else { template.prefix += ids }
            } else {
                throw Problem.malformed(field: field, wanted: "a sequence or a token of special_tokens")
            }
        }
        guard hasText else { throw Problem.malformed(field: "\(name).single", wanted: "with a sequence") }
        return template
    }

    private func truncation(_ value: JSONValue) throws -> PipelineTokenizer.Truncation {
        guard let length = value["max_length"]?.integerValue, length >= 0 else {
            throw Problem.malformed(field: "truncation.max_length", wanted: "a number")
        }
        return PipelineTokenizer.Truncation(maximumTokenCount: Int(length))
    }

    private func padding(_ value: JSONValue, _ table: TokenTable) throws -> PipelineTokenizer.Padding {
        var length: Int?
        if let fixed = value["strategy"]?["Fixed"] {
            guard let count = fixed.integerValue, count >= 0 else {
                throw Problem.malformed(field: "padding.strategy", wanted: "a number")
            }
            length = Int(count)
        }
        return PipelineTokenizer.Padding(
            fixedTokenCount: length, id: try id(value["pad_id"] ?? .integer(0), "padding.pad_id", table))
    }

    // MARK: - Decoders

    private func decoder(_ value: JSONValue?) throws -> TokenDecoder {
        guard let value else { return TokenDecoder(steps: nil) }
        var steps: [TokenDecoder.Step] = []
        var isFused = false
        try read(value, "decoder", into: &steps, &isFused)
        return TokenDecoder(steps: steps)
    }

    private func read(
        _ value: JSONValue, _ name: String, into steps: inout [TokenDecoder.Step], _ isFused: inout Bool
    ) throws {
        let component = try Component(value, name)
        let type = try component.type()
        if isFused, type != "Strip" {
            throw Problem.unsupported(field: "\(name).type", value: "\(type) behind what joins tokens")
        }
        switch type {
        case "Sequence":
            for (index, value) in try component.array("decoders").enumerated() {
                try read(value, "\(name).decoders[\(index)]", into: &steps, &isFused)
            }
        case "ByteLevel":
            for key in ["add_prefix_space", "trim_offsets", "use_regex"] { _ = component[key] }
            steps.append(.byteLevel)
            isFused = true
        case "WordPiece":
            steps.append(
                .wordPiece(
                    prefix: Array(try component.string("prefix", default: "##").utf8),
                    cleansUp: try component.flag("cleanup", default: true)))
        case "Metaspace":
            for key in ["str_rep", "split"] { _ = component[key] }
            let scheme = try prependScheme(component)
            var mark = String.UnicodeScalarView()
            mark.append(Unicode.Scalar(try component.character("replacement")) ?? "\u{2581}")
            steps.append(.metaspace(mark: Array(String(mark).utf8), prepends: scheme != .never))
        case "Replace":
            steps.append(.replace(try pattern(component), with: Array(try component.string("content").utf8)))
        case "ByteFallback": steps.append(.byteFallback)
        case "Fuse": isFused = true
        case "Strip":
            let range = Int64(0)...1024
            let end = try component.integer("stop", default: 0, in: range)
            if isFused, end > 0 { throw Problem.unsupported(field: "\(name).stop", value: "\(end) behind Fuse") }
            var content = String.UnicodeScalarView()
            content.append(Unicode.Scalar(try component.character("content")) ?? " ")
            steps.append(
                .strip(
                    Array(String(content).utf8), start: try component.integer("start", default: 0, in: range), end: end,
                    ofWholeText: isFused))
        default: throw Problem.unsupported(field: "\(name).type", value: type)
        }
        try component.finish()
    }
}

/// An object of the file, all members of which have to be asked for.
private final class Component {
    private typealias Problem = TokenizerFileError.Problem

    let name: String
    private let object: JSONObject
    private var known = Set<ExactString>()

    init(_ value: JSONValue, _ name: String) throws {
        guard let object = value.objectValue else { throw Problem.malformed(field: name, wanted: "an object") }
        self.name = name
        self.object = object
    }

    /// A member, which counts as understood; `null` counts as absent.
    subscript(key: String) -> JSONValue? {
        known.insert(ExactString(key))
        if case .null? = object[key] { return nil }
        return object[key]
    }

    /// Refuses what nobody has asked for: it may change what the tokenizer does.
    func finish() throws {
        for (key, value) in object.members where !known.contains(ExactString(key)) && value != .null {
            throw Problem.unsupported(field: "\(name).\(key)", value: "set")
        }
    }

    func type() throws -> String { try string("type") }

    func string(_ key: String, default: String? = nil) throws -> String {
        guard let value = self[key] else {
            if let text = `default` { return text }
            throw Problem.malformed(field: "\(name).\(key)", wanted: "a text")
        }
        guard let text = value.stringValue else { throw Problem.malformed(field: "\(name).\(key)", wanted: "a text") }
        return text
    }

    /// The value of the single Unicode scalar that a text consists of.
    func character(_ key: String) throws -> UInt32 {
        let scalars = try string(key).unicodeScalars
        guard let first = scalars.first, scalars.count == 1 else {
            throw Problem.malformed(field: "\(name).\(key)", wanted: "one character")
        }
        return first.value
    }

    func flag(_ key: String, default: Bool? = nil) throws -> Bool {
        guard let value = self[key] ?? `default`.map({ .boolean($0) }), let flag = value.booleanValue else {
            throw Problem.malformed(field: "\(name).\(key)", wanted: "true or false")
        }
        return flag
    }

    func integer(_ key: String, default: Int64?, in range: ClosedRange<Int64>) throws -> Int {
        guard let number = (self[key] ?? `default`.map { .integer($0) })?.integerValue, range.contains(number) else {
            throw Problem.malformed(
                field: "\(name).\(key)", wanted: "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return Int(number)
    }

    func array(_ key: String) throws -> [JSONValue] {
        guard let array = self[key]?.arrayValue else {
            throw Problem.malformed(field: "\(name).\(key)", wanted: "an array")
        }
        return array
    }
}
