import Attention
import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `attend compute` {
    private let command: Command

    init() throws {
        command = try Command()
    }

    /// Six queries and keys of two sequences: heads share keys, values are wider than keys.
    private struct Operands {
        let queries, keys, values: Tensor

        init(seed: UInt64 = 1, _ elementType: ElementType = .float32) {
            var generator = SeededGenerator(seed: seed)
            func tensor(_ shape: [Int]) -> Tensor {
                Tensor(generator.floats(shape.reduce(1, *)), shape: shape).converted(to: elementType)
            }
            (queries, keys, values) = (tensor([2, 4, 6, 3]), tensor([2, 2, 6, 3]), tensor([2, 2, 6, 5]))
        }

        var tensors: [String: Tensor] { ["queries": queries, "keys": keys, "values": values] }
    }

    private func writeSafetensors(_ name: String, _ tensors: [String: Tensor]) throws -> String {
        let path = "\(command.folder)/\(name)"
        try SafetensorsFile.write(
            tensors: tensors.map { name, tensor in
                let type: SafetensorsFile.ElementType
                switch tensor.elementType {
                case .float64: type = .float64
                case .float16: type = .float16
                case .bfloat16: type = .bfloat16
                case .bool: type = .boolean
                case .int32: type = .int32
                case .int64: type = .int64
                case .float32: type = .float32
                }
                return SafetensorsFile.TensorToWrite(
                    name: name, elementType: type, shape: tensor.shape, bytes: tensor.withUnsafeBytes { Array($0) })
            }, to: path)
        return path
    }

    /// The numbers of nested arrays, in order; NaN for null.
    private func numbers(_ value: JSONValue?) -> [Double] {
        if let array = value?.arrayValue { return array.flatMap { numbers($0) } }
        return [value?.doubleValue ?? .nan]
    }

    private func shape(_ value: JSONValue?) -> [Int] {
        guard let array = value?.arrayValue else { return [] }
        return [array.count] + shape(array.first)
    }

    private func expectClose(
        _ value: JSONValue?, _ expected: Tensor?, within tolerance: Double = 1e-5,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let expected = try #require(expected, sourceLocation: sourceLocation)
        #expect(shape(value) == expected.shape, sourceLocation: sourceLocation)
        for (number, wanted) in zip(numbers(value), expected.doubles) {
            // JSON has no infinities: null stands for them.
            let isClose = wanted.isFinite ? abs(number - wanted) <= tolerance : number.isNaN
            #expect(isClose, "\(number), not \(wanted)", sourceLocation: sourceLocation)
        }
    }

    private func fail(
        _ arguments: [String], status: Int32 = 1, saying parts: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try command.fail(["compute"] + arguments, status: status, saying: parts, sourceLocation: sourceLocation)
    }

    // MARK: - What is computed

    /// The arguments of each measure and the measure that they mean.
    private static let measures: [(arguments: [String], measure: any Similarity, tensors: [String: Tensor])] = {
        var generator = SeededGenerator(seed: 3)
        func tensor(_ shape: [Int]) -> Tensor { Tensor(generator.floats(shape.reduce(1, *)), shape: shape) }
        let (general, query, key) = (tensor([3, 3]), tensor([7, 3]), tensor([7, 3]))
        let (score, bias, queryRow, keyRow) = (tensor([7]), tensor([7]), tensor([3]), tensor([3]))
        return [
            ([], .scaledDotProduct, [:]),
            (["--similarity", "scaled-dot", "--scale=-2"], Dot(scale: -2), [:]),
            (["--similarity", "dot"], Dot(scale: 1), [:]),
            (["--similarity", "dot", "--scale", "0"], Dot(scale: 0), [:]),
            (["--similarity", "general"], .general(weight: general), ["weight": general]),
            (
                ["--similarity", "additive"], .additive(queryWeight: query, keyWeight: key, scoreWeight: score),
                ["query_weight": query, "key_weight": key, "score_weight": score]
            ),
            (
                ["--similarity", "additive"],
                .additive(queryWeight: query, keyWeight: key, scoreWeight: score, bias: bias),
                ["query_weight": query, "key_weight": key, "score_weight": score, "score_bias": bias]
            ),
            (
                ["--similarity", "linear-additive"], .linearAdditive(queryWeight: queryRow, keyWeight: keyRow),
                ["query_weight": queryRow, "key_weight": keyRow]
            ),
            (["--similarity", "cosine"], .cosine(), [:]),
            (["--similarity", "cosine", "--temperature", "0.1"], .cosine(temperature: 0.1), [:]),
            (["--similarity", "euclidean"], .negativeSquaredEuclidean, [:]),
            (["--similarity", "euclidean", "--scale", "0.5"], .negativeSquaredEuclidean(scale: 0.5), [:]),
            (["--similarity", "gaussian", "--bandwidth", "0.5"], .gaussian(bandwidth: 0.5), [:]),
            (["--similarity", "laplacian", "--bandwidth", "2"], .laplacian(bandwidth: 2), [:]),
        ]
    }()

    @Test(arguments: measures.indices) func `computes every measure`(index: Int) throws {
        let (arguments, measure, tensors) = Self.measures[index]
        let operands = Operands()
        let file = try writeSafetensors("in.safetensors", operands.tensors.merging(tensors) { $1 })
        let result = try command.run(["compute", file, "--weights", "--scores", "--log-sum-exp"] + arguments)
        #expect(result.status == 0)
        #expect(result.error.isEmpty)
        var operation = AttentionOperation()
        operation.similarity = measure
        let expected = operation.reference(
            queries: operands.queries, keys: operands.keys, values: operands.values,
            returning: AttentionRequest(logSumExp: true, weights: 0..<6, scores: .biased))
        let json = try result.json()
        try expectClose(json["output"], expected.output)
        try expectClose(json["weights"], expected.weights)
        try expectClose(json["scores"], expected.scores)
        try expectClose(json["log_sum_exp"], expected.logSumExp)
    }

    /// The texts of masks and what they mean for two sequences of six.
    private static let masks: [(text: String, mask: AttentionMask)] = [
        ("none", .none), ("causal", .causal(offset: 0)), ("causal:0", .causal(offset: 0)),
        ("causal:2", .causal(offset: 2)), ("causal:-3", .causal(offset: -3)),
        ("causal:1099511627776", .none), ("causal:-1099511627776", .causal(offset: -100)),
        ("window:1,2", .slidingWindow(left: 1, right: 2)), ("window:*,0", .causal(offset: 0)),
        ("window:0,*,1", .slidingWindow(left: 0, right: nil, offset: 1)), ("window:*,*", .none),
        ("prefix:2", .prefix(2)), ("prefix:0", .prefix(0)), ("prefix:100", .none), ("lengths:6,3", .lengths([6, 3])),
        ("lengths:0,1", .lengths([0, 1])),
        ("documents:7,7,-1,-1,7,0", .documents([[7, 7, -1, -1, 7, 0], [7, 7, -1, -1, 7, 0]])),
        ("causal & window:2,0", .causal(offset: 0) & .slidingWindow(left: 2, right: 0)),
        ("causal|prefix:3", .causal(offset: 0) | .prefix(3)),
        (
            "causal & lengths:5,2 | prefix:1 & window:1,1",
            .causal(offset: 0) & .lengths([5, 2]) | .prefix(1) & .slidingWindow(left: 1, right: 1)
        ),
    ]

    @Test(arguments: masks.indices) func `computes every mask`(index: Int) throws {
        let (text, mask) = Self.masks[index]
        let operands = Operands(seed: 2)
        let file = try writeSafetensors("in.safetensors", operands.tensors)
        let json = try command.run("compute", file, "--mask", text, "--weights").json()
        let expected = AttentionOperation(mask: mask).reference(
            queries: operands.queries, keys: operands.keys, values: operands.values,
            returning: AttentionRequest(weights: 0..<6))
        try expectClose(json["output"], expected.output)
        try expectClose(json["weights"], expected.weights)
    }

    @Test func `takes mask, bias, sinks and soft-cap`() throws {
        var generator = SeededGenerator(seed: 9)
        let operands = Operands()
        let allowed = Tensor((0..<36).map { _ in Bool.random(using: &generator) }, shape: [6, 6])
        let bias = Tensor(generator.floats(24 * 6), shape: [4, 6, 6])
        let sinks = Tensor(generator.floats(4), shape: [4])
        let file = try writeSafetensors(
            "in.safetensors",
            operands.tensors.merging(["mask": allowed, "bias": bias, "sinks": sinks]) { $1 })
        let result = try command.run("compute", file, "--mask", "file&causal", "--soft-cap", "0.5", "--log-sum-exp")
        let expected = AttentionOperation(
            mask: .boolean(allowed) & .causal(offset: 0), bias: .tensor(bias), softCap: 0.5, sinks: sinks
        ).reference(
            queries: operands.queries, keys: operands.keys, values: operands.values,
            returning: AttentionRequest(logSumExp: true))
        try expectClose(result.json()["output"], expected.output)
        try expectClose(result.json()["log_sum_exp"], expected.logSumExp)
    }

    @Test(arguments: [ElementType.float32, .float16, .bfloat16, .float64])
    func `takes every type of numbers, and gives it back`(type: ElementType) throws {
        let operands = Operands(seed: 4, type)
        let file = try writeSafetensors("in.safetensors", operands.tensors)
        let out = "\(command.folder)/out.safetensors"
        let result = try command.run("compute", file, "--mask", "causal", "--weights", "--output", out)
        #expect(result.status == 0)
        #expect(result.output.isEmpty)
        let written = try SafetensorsFile(path: out)
        #expect(Set(written.tensors.map(\.name)) == ["output", "weights"])
        #expect(try written.requireTensor(named: "output").elementType.byteCount == type.byteCount)
        let json = try command.run("compute", file, "--mask", "causal", "--weights").json()
        for tensor in written.tensors {
            let elementType = ElementType.allCases.first {
                $0.byteCount == tensor.elementType.byteCount && $0.isFloatingPoint
                    && (type.byteCount != 2 || tensor.elementType.byteCount != 2 || $0 == type)
            }
            let read = try tensor.data.withUnsafeBytes {
                Tensor(copying: $0, shape: tensor.shape, elementType: try #require(elementType))
            }
            // The shortest digits of a number give the number back.
            #expect(shape(json[tensor.name]) == tensor.shape)
            let isSame =
                type == .float64
                ? numbers(json[tensor.name]) == read.doubles
                : numbers(json[tensor.name]).map { Float($0) } == read.floats
            #expect(isSame)
        }
        let expected = AttentionOperation(mask: .causal(offset: 0)).reference(
            queries: operands.queries, keys: operands.keys, values: operands.values)
        let rounding = type == .bfloat16 ? 1e-2 : type == .float16 ? 1e-3 : 1e-5
        try expectClose(json["output"], expected.output, within: rounding)
    }

    @Test func `writes JSON to a file what it writes to standard output`() throws {
        let file = try writeSafetensors("in.safetensors", Operands().tensors)
        let out = "\(command.folder)/out.json"
        #expect(try command.run("compute", file, "-o", out).status == 0)
        #expect(try String(contentsOfFile: out, encoding: .utf8) == command.run("compute", file).output)
    }

    @Test func `takes two, three and four dimensions, and heads side by side`() throws {
        let hand = try command.write(
            "two.json", #"{"queries": [[1, 0]], "keys": [[0, 0], [0, 5]], "values": [[1, 2], [3, 6]]}"#)
        // Both scores are 0: the plain mean.
        #expect(numbers(try command.run("compute", hand).json()["output"]) == [2, 4])
        #expect(shape(try command.run("compute", hand).json()["output"]) == [1, 2])

        let operands = Operands()
        func first(_ tensor: Tensor) -> Tensor { tensor.slice(axis: 0, range: 0..<1) }
        let expected = AttentionOperation().reference(
            queries: first(operands.queries), keys: first(operands.keys), values: first(operands.values)
        ).output
        let three = try writeSafetensors(
            "three.safetensors",
            operands.tensors.mapValues { first($0).reshaped(to: Array($0.shape.dropFirst())) })
        try expectClose(
            command.run("compute", three).json()["output"], expected.reshaped(to: [4, 6, 5]))
        let merged = try writeSafetensors("merged.safetensors", operands.tensors.mapValues { first($0).mergingHeads() })
        try expectClose(
            command.run("compute", merged, "--heads", "4", "--key-value-heads", "2").json()["output"],
            expected.mergingHeads())
    }

    @Test func `says which kernel runs on demand`() throws {
        let file = try writeSafetensors("in.safetensors", Operands().tensors)
        let result = try command.run("compute", file, "--plan", "--mask", "causal")
        #expect(result.status == 0)
        #expect(!result.error.isEmpty)
        #expect(result.output == (try command.run("compute", file, "--mask", "causal").output))
    }

    // MARK: - Numbers that are not finite

    @Test func `says that numbers are not finite, and shows null`() throws {
        let operands = Operands()
        var elements = operands.queries.floats
        elements[3 * 3 + 1] = .nan
        elements[3 * 4] = .infinity
        let file = try writeSafetensors(
            "in.safetensors",
            operands.tensors.merging(["queries": Tensor(elements, shape: [2, 4, 6, 3])]) { $1 })
        let result = try command.run("compute", file)
        #expect(result.status == 0)
        #expect(
            result.error.contains(
                "'queries' holds numbers that are not finite (2 of 144), the first (nan) at [0, 0, 3, 1] of "
                    + "[2, 4, 6, 3]. Where a query sees them, its output is not finite either."), "\(result.error)")
        #expect(result.error.contains("10 of the output's 240 numbers are not finite"), "\(result.error)")
        let output = numbers(try result.json()["output"])
        #expect(output.indices.filter { output[$0].isNaN } == Array(15..<25))
    }

    @Test func `a NaN behind the mask is said, and reaches nothing`() throws {
        let operands = Operands()
        var elements = operands.keys.floats
        for key in 15..<18 { elements[key] = .nan }
        let tensors = operands.tensors.merging(["keys": Tensor(elements, shape: [2, 2, 6, 3])]) { $1 }
        let result = try command.run(
            "compute", writeSafetensors("in.safetensors", tensors), "--mask", "lengths:5,6")
        #expect(result.error.contains("'keys' holds numbers that are not finite (3 of 72)"))
        #expect(!result.error.contains("of the output's"))
        #expect(numbers(try result.json()["output"]).allSatisfy(\.isFinite))
    }

    @Test func `says what is not finite in any tensor, but for scores of minus infinity`() throws {
        var operands = Operands().tensors
        operands["bias"] = Tensor([0, 1, -.infinity, 2, 3, 4] as [Float], shape: [1, 6])
        operands["sinks"] = Tensor([0, -.infinity, 1, 2] as [Float], shape: [4])
        let masked = try command.run("compute", writeSafetensors("masked.safetensors", operands))
        #expect(masked.status == 0)
        #expect(masked.error.isEmpty)
        operands["bias"] = Tensor([0, 1, -.infinity, .infinity, 3, 4] as [Float], shape: [1, 6])
        operands["sinks"] = Tensor([0, -.infinity, 1, .nan] as [Float], shape: [4])
        operands["weight"] = Tensor([1, 0, 0, 0, -.infinity, 0, 0, 0, 1] as [Float], shape: [3, 3])
        let poisoned = try command.run(
            "compute", writeSafetensors("poisoned.safetensors", operands), "--similarity", "general")
        for says in [
            "'bias' holds numbers that are not finite (1 of 6), the first (inf) at [0, 3] of [1, 6]",
            "'sinks' holds numbers that are not finite (1 of 4), the first (nan) at [3] of [4]",
            "'weight' holds numbers that are not finite (1 of 9), the first (-inf) at [1, 1] of [3, 3]",
        ] { #expect(poisoned.error.contains(says), "\(poisoned.error)") }
    }

    @Test func `a query that sees nothing yields zeros`() throws {
        let file = try writeSafetensors("in.safetensors", Operands().tensors)
        let result = try command.run("compute", file, "--mask", "prefix:0", "--weights", "--log-sum-exp")
        #expect(result.status == 0)
        #expect(numbers(try result.json()["output"]).allSatisfy { $0 == 0 })
        #expect(numbers(try result.json()["weights"]).allSatisfy { $0 == 0 })
        // −∞, which JSON does not have.
        #expect(numbers(try result.json()["log_sum_exp"]).allSatisfy(\.isNaN))
    }

    // MARK: - What cannot be computed

    /// JSON, its arguments, its status, and what the message says.
    private static let refusals: [(json: String, arguments: [String], status: Int32, says: [String])] = {
        let whole = #""queries": [[1, 2]], "keys": [[1, 2], [3, 4]], "values": [[1], [2]]"#
        func extended(_ more: String) -> String { "{\(whole), \(more)}" }
        return [
            ("", [], 1, ["JSON", "byte 0"]), ("{", [], 1, ["JSON"]), ("[1, 2]", [], 1, ["holds no JSON object"]),
            ("{}", [], 1, ["no tensor 'queries'"]),
            ("{\"queries\": [[1]]}", [], 1, ["no tensor 'keys'", "it has queries"]),
            (#"{"queries": [[1, 2]], "keys": [[1, 2, 3]], "values": [[1]]}"#, [], 1, ["dimension 2", "have 3"]),
            (
                #"{"queries": [[1, 2]], "keys": [[1, 2], [3, 4]], "values": [[1]]}"#, [], 1,
                ["[1, 1, 2, 2]", "[1, 1, 1, 1]"]
            ),
            (
                #"{"queries": [[1, 2]], "keys": [[[1, 2]]], "values": [[1]]}"#, [], 1,
                ["[1, 2], [1, 1, 2] and [1, 1]"]
            ),
            (
                #"{"queries": [[[1]], [[1]], [[1]]], "keys": [[[1]], [[1]]], "values": [[[1]], [[1]]]}"#, [], 1,
                ["do not divide", "[1, 2, 1, 1]", "[1, 3, 1, 1]"]
            ),
            (#"{"queries": [1, 2], "keys": [1, 2], "values": [1]}"#, [], 1, ["[2]", "2 to 4 dimensions"]),
            (#"{"queries": 1, "keys": 1, "values": 1}"#, [], 1, ["[]", "2 to 4 dimensions"]),
            (#"{"queries": [[1, 2], [3]], "keys": [[1, 2]], "values": [[1]]}"#, [], 1, ["'queries'", "is ragged"]),
            (#"{"queries": [[1, [2]]], "keys": [[1, 2]], "values": [[1]]}"#, [], 1, ["'queries'", "is ragged"]),
            (#"{"queries": [[]], "keys": [[]], "values": [[1]]}"#, [], 1, ["'queries'", "[1, 0]"]),
            (#"{"queries": [], "keys": [], "values": []}"#, [], 1, ["'queries'", "[0]"]),
            (
                #"{"queries": [["a"]], "keys": [[1]], "values": [[1]]}"#, [], 1,
                ["'queries'", "neither number nor boolean"]
            ),
            (#"{"queries": [[null]], "keys": [[1]], "values": [[1]]}"#, [], 1, ["'queries'", "neither number"]),
            (#"{"queries": [[1, true]], "keys": [[1]], "values": [[1]]}"#, [], 1, ["mixes numbers and booleans"]),
            (#"{"queries": [[true]], "keys": [[1]], "values": [[1]]}"#, [], 1, ["'queries'", "bool"]),
            (#"{"queries": [[1e39]], "keys": [[1]], "values": [[1]]}"#, [], 1, ["beyond float32"]),
            (#"{"queries": [[1e999]], "keys": [[1]], "values": [[1]]}"#, [], 1, ["JSON"]),
            (#"{"queries": [[NaN]], "keys": [[1]], "values": [[1]]}"#, [], 1, ["JSON"]),
            (#"{"queries": [[1]], "queries": [[1]]}"#, [], 1, ["'queries' occurs twice"]),
            (String(repeating: "[", count: 5000), [], 1, ["deeper"]),
            (extended(#""wieght": [[1]]"#), [], 1, ["'wieght'", "Known: queries, keys"]),
            (extended(#""score_bias": [1]"#), [], 1, ["'score_bias'"]),
            (extended(#""weight": [[1, 0], [0, 1]]"#), [], 1, ["'weight'", "scaled-dot does not use"]),
            (extended(#""mask": [[true, false]]"#), [], 64, ["--mask file"]),
            (extended(#""mask": [[true]], "bias": [[true]]"#), ["--mask", "file"], 1, ["'bias'", "bool"]),
            (extended(#""mask": [[true, false, true]]"#), ["--mask", "file"], 1, ["[1, 1, 1, 3]", "[1, 1, 1, 2]"]),
            (extended(#""mask": [[1, 0]]"#), ["--mask", "file"], 1, ["'mask'", "must hold booleans"]),
            (extended(#""mask": [[[[[true]]]]]"#), ["--mask", "file"], 1, ["'mask'", "at most 4 dimensions"]),
            (extended(#""bias": [[1, 2, 3]]"#), [], 1, ["[1, 1, 1, 3]", "[1, 1, 1, 2]"]),
            (extended(#""bias": [[[[[1]]]]]"#), [], 1, ["'bias'", "at most 4 dimensions"]),
            (extended(#""sinks": [1, 2]"#), [], 1, ["[2]", "one per query head"]),
            (extended(#""sinks": [true]"#), [], 1, ["'sinks'", "bool"]),
            (extended(#""sinks": [[1]]"#), [], 1, ["[1, 1]", "one per query head"]),
            ("{\(whole)}", ["--mask", "file"], 64, ["'mask'"]),
            ("{\(whole)}", ["--mask", "casual"], 64, ["'casual'", "causal[:OFFSET]"]),
            ("{\(whole)}", ["--mask", ""], 64, ["The mask ''"]),
            ("{\(whole)}", ["--mask", "causal &"], 64, ["The mask ''"]),
            ("{\(whole)}", ["--mask", "|causal"], 64, ["The mask ''"]),
            ("{\(whole)}", ["--mask", "causal:x"], 64, ["'causal:x'"]),
            ("{\(whole)}", ["--mask", "causal:9223372036854775807"], 64, ["'causal:9223372036854775807'"]),
            ("{\(whole)}", ["--mask", "causal:-9223372036854775808"], 64, ["'causal:-9223372036854775808'"]),
            ("{\(whole)}", ["--mask", "causal:99999999999999999999"], 64, ["'causal:99999999999999999999'"]),
            ("{\(whole)}", ["--mask", "window:-1,0"], 64, ["'window:-1,0'"]),
            ("{\(whole)}", ["--mask", "window:1"], 64, ["'window:1'"]),
            ("{\(whole)}", ["--mask", "window:1,2,3,4"], 64, ["'window:1,2,3,4'"]),
            ("{\(whole)}", ["--mask", "causal:"], 64, ["'causal:'"]),
            ("{\(whole)}", ["--mask", "none:"], 64, ["'none:'"]),
            ("{\(whole)}", ["--mask", ":causal"], 64, ["':causal'"]),
            ("{\(whole)}", ["--mask", "prefix"], 64, ["'prefix'"]),
            ("{\(whole)}", ["--mask", "lengths"], 64, ["'lengths'"]),
            ("{\(whole)}", ["--mask", "lengths:1,"], 64, ["'lengths:1,'"]),
            ("{\(whole)}", ["--mask", "lengths:1,2"], 1, ["2 lengths", "1 sequences"]),
            ("{\(whole)}", ["--mask", "lengths:3"], 1, ["[3]", "2 keys"]),
            ("{\(whole)}", ["--mask", "lengths:-1"], 1, ["[-1]", "2 keys"]),
            ("{\(whole)}", ["--mask", "documents:1,1"], 1, ["[2] queries", "of 1"]),
            ("{\(whole)}", ["--heads", "1"], 1, ["3 with --heads"]),
            (#"{"queries": [[[1, 2]]], "keys": [[[1, 2]]], "values": [[[1, 2]]]}"#, ["--heads", "0"], 1, ["0 heads"]),
            (#"{"queries": [[[1, 2]]], "keys": [[[1, 2]]], "values": [[[1, 2]]]}"#, ["--heads=-2"], 1, ["-2 heads"]),
            (
                #"{"queries": [[[1, 2]]], "keys": [[[1, 2]]], "values": [[[1, 2]]]}"#, ["--heads", "3"], 1,
                ["3 heads", "[1, 1, 2]"]
            ),
            ("{\(whole)}", ["--similarity", "general"], 64, ["needs the tensor 'weight'"]),
            (extended(#""weight": [[1]]"#), ["--similarity", "general"], 1, ["[1, 1]", "[2, 2]"]),
            (extended(#""weight": [1]"#), ["--similarity", "general"], 1, ["'weight'", "2 dimensions"]),
            ("{\(whole)}", ["--similarity", "additive"], 64, ["needs the tensor 'query_weight'"]),
            (
                extended(#""query_weight": [[1, 1]], "key_weight": [[1, 1]]"#), ["--similarity", "additive"], 64,
                ["needs the tensor 'score_weight'"]
            ),
            (
                extended(#""query_weight": [[1, 1]], "key_weight": [[1, 1]], "score_weight": [1, 2]"#),
                ["--similarity", "additive"], 1, ["[1, 2], [1, 2], [2]"]
            ),
            (
                extended(#""query_weight": [[1]], "key_weight": [[1, 1]], "score_weight": [1]"#),
                ["--similarity", "additive"], 1, ["[1, 1]", "queries of 2"]
            ),
            ("{\(whole)}", ["--similarity", "linear-additive"], 64, ["needs the tensor 'query_weight'"]),
            (
                extended(#""query_weight": [1], "key_weight": [1, 1]"#), ["--similarity", "linear-additive"], 1,
                ["[1]", "queries of 2"]
            ),
            ("{\(whole)}", ["--similarity", "gaussian", "--bandwidth", "0"], 64, ["--bandwidth is 0.0"]),
            ("{\(whole)}", ["--similarity", "laplacian", "--bandwidth", "inf"], 64, ["--bandwidth is inf"]),
            ("{\(whole)}", ["--similarity", "cosine", "--temperature", "0"], 64, ["--temperature is 0.0"]),
            ("{\(whole)}", ["--bandwidth", "1"], 64, ["--bandwidth", "gaussian, laplacian"]),
            ("{\(whole)}", ["--soft-cap", "0"], 64, ["--soft-cap is 0.0"]),
            ("{\(whole)}", ["--soft-cap", "-1"], 64, ["soft-cap"]),
            ("{\(whole)}", ["--output", "/absent/folder/out.json"], 1, ["cannot write '/absent/folder/out.json'"]),
            ("{\(whole)}", ["--output", "/absent/folder/out.safetensors"], 1, ["/absent/folder/out.safetensors"]),
            ("{\(whole)}", ["--output", "out.txt"], 64, ["neither .safetensors nor .json"]),
        ]
    }()

    @Test(arguments: refusals.indices) func `refuses what does not fit together`(index: Int) throws {
        let (json, arguments, status, says) = Self.refusals[index]
        let file = try command.write("in.json", json)
        try command.fail(["compute", file] + arguments, status: status, saying: says)
    }

    @Test func `refuses files that are none of its kinds`() throws {
        try fail(["/absent/file.json"], saying: "/absent/file.json")
        try fail(["/absent/file.safetensors"], saying: "/absent/file.safetensors")
        try fail([command.folder], status: 64, saying: "neither .safetensors nor .json")
        try fail(["-"], status: 64, saying: "neither .safetensors nor .json")
        let empty = try command.write("empty.safetensors", "")
        try fail([empty], saying: empty)
        try fail([try command.write("text.safetensors", "This is no tensor.")], saying: "text.safetensors")
        try fail([try command.write("latin.json", Array("{\"é".utf8.dropLast()))], saying: "JSON")
        #expect(
            try command.shell("mkdir \"$FOLDER/a.json\"; mkfifo \"$FOLDER/b.json\" \"$FOLDER/c.safetensors\"").status
                == 0)
        for name in ["a.json", "b.json", "c.safetensors"] { try fail(["\(command.folder)/\(name)"], saying: name) }
    }

    @Test func `refuses tensors of types and shapes that cannot be computed with`() throws {
        let operands = Operands()
        let integers = try writeSafetensors(
            "int.safetensors",
            operands.tensors.merging(["keys": Tensor([Int32](repeating: 1, count: 2), shape: [1, 2])]) { $1 })
        try fail([integers], saying: "'keys'", "int32", "use F64, F32, F16, BF16 or BOOL")
        // Shapes that say much and hold nothing.
        for shape in ["[0,4611686018427387904,4]", "[4611686018427387904,4,0]", "[1099511627776,0]", "[0,4]"] {
            let entries = ["queries", "keys", "values"].map {
                "\"\($0)\":{\"dtype\":\"F32\",\"shape\":\(shape),\"data_offsets\":[0,0]}"
            }
            let header = Array("{\(entries.joined(separator: ","))}".utf8)
            let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
            let file = try command.write("hollow.safetensors", length + header)
            try fail([file, "--weights"], saying: "hollow.safetensors")
        }
    }

    // Some 64 KiB each, from which a result of more than 1 GiB would be made.
    @Test func `refuses results far larger than their operands`() throws {
        let long = Tensor(zeros: [16_385, 1])
        let one = Tensor(zeros: [1, 1])
        let keys = try writeSafetensors("long.safetensors", ["queries": long, "keys": long, "values": long])
        for name in ["weights", "scores"] {
            try fail(
                [keys, "--\(name)"],
                saying: "'\(name)' would have shape [1, 1, 16385, 16385], more than the 268435456 numbers",
                "leave out --\(name)")
        }
        let wide = try writeSafetensors(
            "wide.safetensors", ["queries": long, "keys": one, "values": Tensor(zeros: [1, 16_385])])
        try fail([wide], saying: "'output' would have shape [1, 1, 16385, 16385]", "Give fewer queries at once.")
    }

    @Test func `leaves a file as it is when it refuses`() throws {
        let out = try command.write("out.json", "before")
        let file = try command.write("in.json", #"{"queries": [[1]]}"#)
        try fail([file, "--output", out], saying: "no tensor 'keys'")
        #expect(try String(contentsOfFile: out, encoding: .utf8) == "before")
    }
}
