import ModelFiles
import TestSupport
import Testing

/// Returns what is wrong with a file, or `nil` when nothing is.
private func problem(of builder: GGUFBuilder) -> GGUFError.Problem? {
    problem(of: builder.bytes)
}

private func problem(of bytes: [UInt8]) -> GGUFError.Problem? {
    do {
        _ = try GGUFFile(MappedFile(bytes: bytes))
        return nil
    } catch {
        return error.problem
    }
}

/// A file of one pair with the given value.
private func pair(_ type: UInt32, _ payload: [UInt8], key: String = "key") -> GGUFBuilder {
    var builder = GGUFBuilder()
    builder.add(key, type: type, payload)
    return builder
}

/// A file of one tensor.
private func tensor(
    _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64? = nil, byteCount: Int = 0,
    dimensionCount: UInt32? = nil, name: String = "tensor"
) -> GGUFBuilder {
    var builder = GGUFBuilder()
    builder.addTensor(
        name, dimensions, type: type, offset: offset, [UInt8](repeating: 7, count: byteCount),
        dimensionCount: dimensionCount)
    return builder
}

@Suite struct `GGUF files` {
    typealias Builder = GGUFBuilder

    @Test func `every value type is read`() throws {
        let metadata = try GGUFBuilder.sample().file().metadata
        #expect(try metadata.string("general.architecture") == "llama")
        #expect(try metadata.integer("u8") == 200)
        #expect(try metadata.integer("i8") == -1)
        #expect(try metadata.integer("u16", as: UInt16.self) == 65_535)
        #expect(try metadata.integer("i16", as: Int8.self) == -2)
        #expect(try metadata.integer("i32") == 30)
        #expect(try metadata.integer("u64", as: UInt64.self) == .max)
        #expect(try metadata.integer("i64") == .min)
        #expect(try Float(metadata.double("f32")) == 1e-5)
        #expect(try metadata.double("f64") == 0.1)
        #expect(try metadata.boolean("tokenizer.ggml.add_bos_token") == false)
        #expect(
            try metadata.array("flags").map { if case .boolean(true) = $0 { 1 } else { 0 } } == [0, 1, 1])
        #expect(try metadata.integers("tokenizer.ggml.token_type").prefix(3) == [3, 3, 1])
        #expect(try metadata.integer("absent", default: 5) == 5)
        let strings = try metadata.strings("tokenizer.ggml.tokens")
        #expect((0..<strings.count).map { strings.string(at: $0) } == GGUFBuilder.tokens)
        let nested = Array(try metadata.array("nested"))
        #expect(nested.count == 2)
        guard case .array(let last) = nested[1], case .string(let slice)? = Array(last).first else {
            Issue.record("The second element is not an array of strings.")
            return
        }
        #expect(slice.withUnsafeBytes { Array($0) } == Array("x".utf8))
    }

    @Test func `every tensor type is read`() throws {
        let file = try GGUFBuilder.sample().file()
        #expect(file.tensors.map(\.type) == [.float32, .float16, .bfloat16, .q80, .q40, .q41])
        #expect(file.tensors.map(\.data.count) == [16, 12, 4, 34, 18, 20])
        for (index, tensor) in file.tensors.enumerated() {
            #expect(tensor.data.withUnsafeBytes { $0.allSatisfy { $0 == UInt8(index + 1) } })
            #expect(tensor.data.range.lowerBound % file.alignment == 0)
        }
        #expect(file.tensor(named: "half")?.dimensions == [2, 3])
        #expect(file.tensor(named: "absent") == nil)
        #expect(throws: GGUFError.self) { try file.requireTensor(named: "absent") }
    }

    @Test func `version 2 is read as well`() throws {
        var builder = GGUFBuilder.sample()
        builder.version = 2
        #expect(try builder.file().version == 2)
    }

    @Test func `values of the wrong type or range are refused by key and type`() throws {
        let metadata = try GGUFBuilder.sample().file().metadata
        func problem<T>(_ body: () throws(GGUFError) -> T) -> GGUFError.Problem? {
            do {
                _ = try body()
                return nil
            } catch {
                return error.problem
            }
        }
        #expect(problem { () throws(GGUFError) in try metadata.integer("absent") } == .missingKey("absent"))
        #expect(
            problem { () throws(GGUFError) in try metadata.integer("general.architecture") }
                == .wrongType(key: "general.architecture", wanted: "Int", found: "string"))
        #expect(
            problem { () throws(GGUFError) in try metadata.integer("u8", as: Int8.self) }
                == .outOfRange(key: "u8", value: "200", wanted: "Int8"))
        #expect(
            problem { () throws(GGUFError) in try metadata.integer("i8", as: UInt64.self) }
                == .outOfRange(key: "i8", value: "-1", wanted: "UInt64"))
        #expect(
            problem { () throws(GGUFError) in try metadata.strings("flags") }
                == .wrongType(key: "flags", wanted: "array of strings", found: "array of bool"))
        #expect(
            problem { () throws(GGUFError) in try metadata.integers("general.architecture") }
                == .wrongType(key: "general.architecture", wanted: "array", found: "string"))
        #expect(
            problem { () throws(GGUFError) in try metadata.integers("flags") }
                == .wrongType(key: "flags", wanted: "array of Int", found: "array of bool"))
    }

    // MARK: - Known attacks

    @Test func `a wrong magic number is refused`() {
        var builder = GGUFBuilder()
        builder.magic = Array("GGUX".utf8)
        #expect(problem(of: builder) == .wrongMagic(found: builder.magic))
        #expect(problem(of: []) == .wrongMagic(found: []))
    }

    @Test(arguments: [0, 1, 4, 0xFFFF_FFFF] as [UInt32])
    func `other versions are refused by number`(version: UInt32) {
        var builder = GGUFBuilder()
        builder.version = version
        #expect(problem(of: builder) == .unsupportedVersion(version))
    }

    @Test func `big-endian files are refused by name`() {
        var builder = GGUFBuilder()
        builder.version = UInt32(3).byteSwapped
        #expect(problem(of: builder) == .bigEndian)
    }

    // CVE-2024-23496, CVE-2024-21802: counts multiplied unchecked, then allocated.
    @Test(arguments: [1, 1 << 31, 1 << 60, .max] as [UInt64])
    func `lying counts allocate nothing`(count: UInt64) {
        var builder = GGUFBuilder()
        builder.claimedTensorCount = count
        #expect(problem(of: builder) == .tooMany(what: "tensors", count: count, remaining: 8))
        builder = GGUFBuilder()
        builder.claimedPairCount = count
        #expect(problem(of: builder) == .tooMany(what: "metadata pairs", count: count, remaining: 8))
    }

    // CVE-2024-21825, CVE-2024-23605: lengths of strings and arrays.
    @Test(arguments: [18, 1 << 20, 1 << 30] as [UInt64])
    func `strings beyond the end are refused`(length: UInt64) {
        // 47 bytes up to the string, padded to 64.
        #expect(
            problem(of: pair(8, Builder.little(length)))
                == .truncated(reading: "a string", needed: length, remaining: 17))
    }

    @Test(arguments: [1 << 30 + 1, 1 << 63, .max] as [UInt64])
    func `strings and arrays beyond the limit are refused`(length: UInt64) {
        #expect(
            problem(of: pair(8, Builder.little(length)))
                == .overLimit(what: "a string", count: length, limit: 1 << 30))
        #expect(
            problem(of: pair(9, Builder.array(.uint8, count: length, [])))
                == .overLimit(what: "the array 'key'", count: length, limit: 1 << 30))
    }

    @Test(arguments: [GGUFFile.ValueType.uint8, .uint32, .uint64, .string, .array, .boolean])
    func `arrays that cannot fit are refused before anything is allocated`(type: GGUFFile.ValueType) {
        let builder = pair(9, Builder.array(type, count: 1 << 30, []))
        guard case .tooMany(what: "elements of 'key'", count: 1 << 30, _)? = problem(of: builder) else {
            Issue.record("\(String(describing: problem(of: builder)))")
            return
        }
    }

    @Test func `keys have a length limit`() {
        let long = String(repeating: "k", count: 65_536)
        #expect(
            problem(of: pair(0, [1], key: long))
                == .overLimit(what: "a metadata key", count: 65_536, limit: 65_535))
        #expect(problem(of: pair(0, [1], key: String(long.dropLast()))) == nil)
    }

    @Test func `empty keys are refused`() {
        #expect(problem(of: pair(0, [1, 0, 0, 0], key: "")) == .emptyKey)
    }

    @Test(arguments: ["é", "a\u{0}", "tab\t", "\u{7F}"])
    func `keys outside ASCII are refused`(key: String) {
        #expect(problem(of: pair(0, [1], key: key)) == .keyNotASCII)
    }

    @Test func `duplicate keys are refused`() {
        var builder = GGUFBuilder()
        builder.add("key", 1)
        builder.add("key", 1)
        #expect(problem(of: builder) == .duplicateKey("key"))
    }

    @Test(arguments: [13, 255, .max] as [UInt32])
    func `unknown value types are refused`(type: UInt32) {
        #expect(problem(of: pair(type, [0, 0, 0, 0])) == .unknownValueType(key: "key", type: type))
        #expect(
            problem(of: pair(9, Builder.little(type) + Builder.little(UInt64(1)) + [0, 0, 0, 0]))
                == .unknownValueType(key: "key", type: type))
    }

    @Test(arguments: [2, 0x80, 0xFF] as [UInt8])
    func `Booleans other than 0 and 1 are refused`(byte: UInt8) {
        #expect(problem(of: pair(7, [byte])) == .notBoolean(key: "key", byte: byte))
        #expect(
            problem(of: pair(9, Builder.array(.boolean, count: 2, [1, byte])))
                == .notBoolean(key: "key", byte: byte))
    }

    @Test func `arrays nest only so deep`() {
        func nested(_ depth: Int) -> [UInt8] {
            (1..<depth).reduce(Builder.array(.uint8, count: 1, [1])) { inner, _ in
                Builder.array(.array, count: 1, inner)
            }
        }
        #expect(problem(of: pair(9, nested(16))) == nil)
        #expect(problem(of: pair(9, nested(17))) == .nestedTooDeeply(key: "key", limit: 16))
        #expect(problem(of: pair(9, nested(50_000))) == .nestedTooDeeply(key: "key", limit: 16))
    }

    // llama.cpp 27188: a file of 43 bytes that a reader counted through for hours.
    @Test func `a count of nothing ends at once`() {
        let builder = pair(
            9, Builder.array(.array, count: 1 << 30, Builder.array(.array, count: 1 << 30, [])))
        guard case .tooMany? = problem(of: builder) else {
            Issue.record("\(String(describing: problem(of: builder)))")
            return
        }
    }

    @Test func `duplicate tensor names are refused`() {
        var builder = GGUFBuilder()
        builder.addTensor("a", [8], [UInt8](repeating: 0, count: 32))
        builder.addTensor("a", [8], [UInt8](repeating: 0, count: 32))
        #expect(problem(of: builder) == .duplicateTensor("a"))
    }

    @Test func `canonically equivalent tensor names are two names`() throws {
        var builder = GGUFBuilder()
        builder.addTensor("e\u{301}", [8], [UInt8](repeating: 1, count: 32))
        builder.addTensor("\u{E9}", [8], [UInt8](repeating: 2, count: 32))
        let file = try builder.file()
        #expect(file.tensor(named: "\u{E9}")?.data.withUnsafeBytes(\.first) == 2)
        #expect(file.tensor(named: "e\u{301}")?.data.withUnsafeBytes(\.first) == 1)
    }

    @Test func `tensor names have a length limit and some length`() {
        let long = String(repeating: "n", count: 65)
        #expect(
            problem(of: tensor([8], byteCount: 32, name: long))
                == .overLimit(what: "a tensor's name", count: 65, limit: 64))
        #expect(problem(of: tensor([8], byteCount: 32, name: "")) == .emptyTensorName)
    }

    // CVE-2024-21836: more dimensions than there is room for.
    @Test(arguments: [5, 1000, .max] as [UInt32])
    func `more than four dimensions are refused`(count: UInt32) {
        #expect(
            problem(of: tensor([1, 1, 1, 1], byteCount: 4, dimensionCount: count))
                == .tooManyDimensions(tensor: "tensor", count: count))
    }

    // CVE-2025-53630: products and sums of sizes that overflow.
    @Test(
        arguments: [
            [.max], [1 << 63], [1 << 32, 1 << 32], [1 << 62, 2], [1 << 31, 1 << 31, 2, 0],
            [1 << 61, 4, 4, 4],
        ] as [[UInt64]])
    func `sizes that overflow are refused`(dimensions: [UInt64]) {
        #expect(problem(of: tensor(dimensions)) == .sizeOverflow(tensor: "tensor"))
    }

    @Test func `bytes that overflow are refused`() {
        #expect(problem(of: tensor([1 << 62])) == .sizeOverflow(tensor: "tensor"))
    }

    // CVE-2026-27940: each tensor fits an integer, their padded sum does not.
    @Test func `sums that overflow are refused`() {
        var builder = GGUFBuilder()
        builder.addTensor("a", [(1 << 63 - 4) / 4], [])
        guard case .sizeOverflow? = problem(of: builder) else {
            Issue.record("\(String(describing: problem(of: builder)))")
            return
        }
    }

    // CVE-2026-7482: a shape larger than the data reads beyond it.
    @Test func `tensors beyond the end are refused`() {
        #expect(
            problem(of: tensor([16], byteCount: 32))
                == .tensorOutOfBounds(tensor: "tensor", needed: 64, available: 32))
    }

    @Test func `an empty tensor behind the end is refused`() {
        let bytes = tensor([0]).bytes
        #expect(problem(of: bytes) == nil)
        // The header ends at byte 62, and the data would begin at 64.
        #expect(
            problem(of: Array(bytes[..<62]))
                == .tensorOutOfBounds(tensor: "tensor", needed: 0, available: 0))
    }

    @Test func `empty tensors and scalars are read`() throws {
        var builder = GGUFBuilder()
        builder.addTensor("empty", [0, 5], [])
        builder.addTensor("scalar", [], [1, 0, 0, 0])
        let file = try builder.file()
        #expect(file.tensors.map(\.data.count) == [0, 4])
        #expect(file.tensors.map(\.elementCount) == [0, 1])
    }

    @Test(arguments: [1, 31, 64, .max] as [UInt64])
    func `offsets that leave holes or overlap are refused`(offset: UInt64) {
        var builder = GGUFBuilder()
        builder.addTensor("a", [8], [UInt8](repeating: 0, count: 32))
        builder.addTensor("b", [8], offset: offset, [UInt8](repeating: 0, count: 64))
        #expect(problem(of: builder) == .wrongTensorOffset(tensor: "b", offset: offset, expected: 32))
    }

    @Test(
        arguments: [(14, "Q6_K"), (12, "Q4_K"), (6, "Q5_0"), (26, "I32"), (39, "MXFP4")] as [(UInt32, String)]
    )
    func `unsupported tensor types are refused by name`(type: UInt32, name: String) {
        #expect(
            problem(of: tensor([256], type: type, byteCount: 256))
                == .unsupportedTensorType(tensor: "tensor", type: name))
        let message = message(of: tensor([256], type: type, byteCount: 256))
        #expect(message?.contains("F32, F16, BF16, Q8_0, Q4_0, Q4_1") == true)
    }

    @Test(arguments: [100, .max] as [UInt32])
    func `unknown tensor types are refused by number`(type: UInt32) {
        #expect(
            problem(of: tensor([32], type: type)) == .unknownTensorType(tensor: "tensor", identifier: type))
    }

    @Test(arguments: [2, 3, 8] as [UInt32])
    func `rows of part blocks are refused`(type: UInt32) {
        #expect(
            problem(of: tensor([16, 2], type: type, byteCount: 34))
                == .partialBlock(tensor: "tensor", rowLength: 16, blockLength: 32))
        #expect(
            problem(of: tensor([], type: type, byteCount: 34))
                == .partialBlock(tensor: "tensor", rowLength: 1, blockLength: 32))
    }

    // llama.cpp 24759, 26318, 24997: padding that overflows, alignment of the wrong type.
    @Test(arguments: [0, 1, 4, 12, 24, 1 << 21, 1 << 31, .max] as [UInt32])
    func `impossible alignments are refused`(alignment: UInt32) {
        #expect(
            problem(of: pair(4, Builder.little(alignment), key: "general.alignment"))
                == .outOfRange(
                    key: "general.alignment", value: "\(alignment)",
                    wanted: "a power of two from 8 to 1048576"))
    }

    @Test func `an alignment of another type is refused`() {
        #expect(
            problem(of: pair(10, Builder.little(UInt64(32)), key: "general.alignment"))
                == .wrongType(key: "general.alignment", wanted: "uint32", found: "uint64"))
    }

    @Test(arguments: [8, 64, 4096])
    func `other alignments are followed`(alignment: Int) throws {
        var builder = GGUFBuilder()
        builder.alignment = alignment
        builder.add("general.alignment", UInt32(alignment))
        builder.addTensor("a", [1], [1, 1, 1, 1])
        builder.addTensor("b", [1], [2, 2, 2, 2])
        let file = try builder.file()
        #expect(file.alignment == alignment)
        #expect(file.tensor(named: "b")?.data.withUnsafeBytes(\.first) == 2)
    }

    @Test func `errors say where and what to try`() {
        #expect(
            message(of: tensor([16], byteCount: 32))
                == "GGUF file 'built.gguf', at byte 24: the tensor 'tensor' ends 64 bytes into the data, which "
                + "has 32. The file is damaged or was not fetched whole; fetch it again.")
    }

    // MARK: - Damage

    @Test func `every truncation is an error`() throws {
        let bytes = GGUFBuilder.sample().bytes
        // The last tensor's padding may be missing.
        let end = try #require(GGUFFile(MappedFile(bytes: bytes)).tensors.last).data.range.upperBound
        for count in 0..<end {
            #expect(problem(of: Array(bytes[..<count])) != nil, "\(count) of \(bytes.count) bytes")
        }
        #expect(problem(of: Array(bytes[..<end])) == nil)
    }

    @Test(arguments: 0..<10)
    func `ten thousand damaged files are refused or read whole`(seed: Int) {
        let bytes = GGUFBuilder.sample().bytes
        var generator = SeededGenerator(seed: UInt64(seed))
        var readCount = 0
        for _ in 0..<10_000 {
            do {
                walk(try GGUFFile(MappedFile(bytes: generator.mutation(of: bytes, in: 0..<bytes.count))))
                readCount += 1
            } catch {
                // A description that traps is a fault as well; it names the file.
                if !error.description.contains("bytes in memory") { Issue.record(error) }
            }
        }
        // Both ways were taken.
        #expect((100..<9_900).contains(readCount))
    }
}

/// Returns a file's error as a user sees it, or `nil`.
private func message(of builder: GGUFBuilder) -> String? {
    do {
        _ = try builder.file()
        return nil
    } catch {
        return "\(error)"
    }
}

/// Touches everything that a file holds.
private func walk(_ file: GGUFFile) {
    var sum: UInt8 = 0
    func visit(_ value: GGUFFile.Value) {
        switch value {
        case .string(let slice): slice.withUnsafeBytes { for byte in $0 { sum ^= byte } }
        case .array(let array): for element in array { visit(element) }
        default: break
        }
    }
    for key in file.metadata.keys {
        if let value = try? file.metadata.value(key) { visit(value) }
        _ = try? file.metadata.integer(key, as: Int8.self)
        _ = try? file.metadata.double(key)
        _ = try? file.metadata.string(key)
        _ = try? file.metadata.integers(key, as: UInt8.self)
        _ = try? file.metadata.strings(key)
    }
    for tensor in file.tensors {
        tensor.data.withUnsafeBytes { for byte in $0 { sum ^= byte } }
        _ = tensor.elementCount
    }
    do {
        let tokenizer = try ByteLevelBPETokenizer(file)
        let ids = try tokenizer.encode("hello 1 a<|end|>", recognizingSpecialTokens: true)
        _ = try tokenizer.decode(ids)
    } catch {
        if error.description.isEmpty { Issue.record(error) }
    }
    withExtendedLifetime(sum) {}
}
