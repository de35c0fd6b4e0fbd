/// BERT's first way to store a tokenizer: `vocab.txt`, a token in each line, with settings in `tokenizer_config.json`.
package enum BERTVocabulary {
    /// Builds the tokenizer, by the defaults of BERT where the configuration is silent or absent.
    package static func tokenizer(
        _ file: MappedFile, configuration: JSONValue?
    ) throws(TokenizerFileError) -> any TextTokenizer {
        func failure(_ problem: TokenizerFileError.Problem) -> TokenizerFileError {
            TokenizerFileError(path: file.path, problem: problem)
        }
        guard file.count <= TokenizerFile.maximumByteCount else { throw failure(.tooLong(byteCount: file.count)) }
        let invalid = file.withUnsafeBytes { $0.offsetOfInvalidUTF8 }
        if let invalid { throw failure(.tokenizer(.invalidUTF8(offset: invalid))) }

        let lines = file.withUnsafeBytes { bytes in
            bytes.split(separator: 0x0A, omittingEmptySubsequences: false).map { line in
                let end = line.lastIndex { $0 != 0x20 && !(0x9...0xD ~= $0) }
                return Array(line[..<(end.map { $0 + 1 } ?? line.startIndex)])
            }
        }
        var ids: [[UInt8]: Int64] = [:]
        // Behind the last line break there is no line. The last of equal lines counts.
        for (id, line) in (lines.last?.isEmpty == true ? lines.dropLast() : lines[...]).enumerated() {
            ids[line] = Int64(id)
        }
        var vocabulary = JSONObject()
        for (line, id) in ids.sorted(by: { $0.value < $1.value }) {
            vocabulary.append(String(decoding: line, as: UTF8.self), .integer(id))
        }

        /// The text of a token that the configuration names.
        func text(_ name: String, _ usual: String) -> String {
            configuration?[name]?.stringValue ?? configuration?[name]?["content"]?.stringValue ?? usual
        }
        func flag(_ name: String) -> Bool? { configuration?[name]?.booleanValue }
        let (unknown, beginning, end) = (
            text("unk_token", "[UNK]"), text("cls_token", "[CLS]"), text("sep_token", "[SEP]")
        )
        var added: [JSONValue] = []
        for token in [text("pad_token", "[PAD]"), unknown, beginning, end, text("mask_token", "[MASK]")] {
            guard let id = ids[Array(token.utf8)] else { continue }
            added.append(
                .object([
                    ("id", .integer(id)), ("content", .string(token)), ("single_word", .boolean(false)),
                    ("lstrip", .boolean(false)), ("rstrip", .boolean(false)), ("normalized", .boolean(false)),
                    ("special", .boolean(true)),
                ]))
        }
        func around(_ token: String) throws(TokenizerFileError) -> JSONValue {
            guard let id = ids[Array(token.utf8)] else {
                throw failure(.malformed(field: token, wanted: "a line of the file"))
            }
            return .array([.string(token), .integer(id)])
        }
        let json = JSONValue.object([
            ("version", .string("1.0")), ("added_tokens", .array(added)),
            (
                "normalizer",
                .object([
                    ("type", .string("BertNormalizer")), ("clean_text", .boolean(true)),
                    ("handle_chinese_chars", .boolean(flag("tokenize_chinese_chars") ?? true)),
                    ("strip_accents", flag("strip_accents").map { .boolean($0) } ?? .null),
                    ("lowercase", .boolean(flag("do_lower_case") ?? true)),
                ])
            ),
            ("pre_tokenizer", .object([("type", .string("BertPreTokenizer"))])),
            (
                "post_processor",
                .object([
                    ("type", .string("BertProcessing")), ("sep", try around(end)), ("cls", try around(beginning)),
                ])
            ),
            ("decoder", .object([("type", .string("WordPiece"))])),
            (
                "model",
                .object([
                    ("type", .string("WordPiece")), ("unk_token", .string(unknown)), ("vocab", .object(vocabulary)),
                ])
            ),
        ])
        let tokenizer = try TokenizerFile.tokenizer(json, path: file.path)
        guard var pipeline = tokenizer as? PipelineTokenizer, let configuration else { return tokenizer }
        pipeline.setRoles(configuration)
        return pipeline
    }
}
