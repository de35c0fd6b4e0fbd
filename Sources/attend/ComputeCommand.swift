import ArgumentParser
import Attention
import AttentionInspection
import Foundation
import SequenceModels

/// `attend compute FILE`: the operator on one's own queries, keys and values.
struct ComputeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compute",
        abstract: "Runs attention on your own queries, keys and values.",
        discussion: """
            The file is .safetensors or .json with 'queries', 'keys' and 'values':

              [T, D]        one head
              [H, T, D]     several heads; keys and values may have fewer, which
                            queries then share
              [B, H, T, D]  a batch
              [B, T, H·D]   with --heads

            and, if wanted, 'mask' (booleans, true = may see; with --mask file), 'bias'
            (added to the scores), 'sinks' (one number per head), 'weight' for general,
            and 'query_weight', 'key_weight', 'score_weight', 'score_bias' for additive
            and linear-additive. JSON is {"queries": [[0.1, …], …], …}.

            The result is JSON on standard output, or a file: 'output', and what
            --weights, --scores and --log-sum-exp add. A NaN among the inputs is
            reported, never hidden; JSON shows it as null.
            """)

    @Argument(help: ArgumentHelp("The file with queries, keys and values.", valueName: "file"))
    var file: String?

    @Flag(help: "Walk through the sentence \"The FBI is chasing\" with vectors that fit the screen.")
    var example = false

    @Option(
        help: "How well a key matches a query: \(SimilarityKind.allCases.map(\.rawValue).joined(separator: ", ")).")
    var similarity: SimilarityKind = .scaledDot

    @Option(help: "Multiplies the dot product or the squared distance; scaled-dot has 1/√D by default.")
    var scale: Double?

    @Option(help: "Divides the cosine; 1 by default.")
    var temperature: Double?

    @Option(help: "The bandwidth of gaussian and laplacian; 1 by default.")
    var bandwidth: Double?

    @Option(help: ArgumentHelp("Which keys a query may see: \(MaskExpression.help)", valueName: "mask"))
    var mask: String = "none"

    @Option(help: "Limits the scores to ±N, smoothly, before bias and mask.")
    var softCap: Double?

    @Option(help: "Reads tensors as [B, T, H·D] with so many query heads.")
    var heads: Int?

    @Option(help: "The heads of keys and values, where they are fewer; needs --heads.")
    var keyValueHeads: Int?

    @Flag(help: "Add the attention weights to the result.")
    var weights = false

    @Flag(help: "Add the scores before the softmax to the result.")
    var scores = false

    @Flag(help: "Add the logarithm of the softmax's denominator to the result.")
    var logSumExp = false

    @Flag(help: "Say on standard error which kernel runs, and why.")
    var plan = false

    @Option(name: [.short, .long], help: "Write to a .safetensors or .json file; - is standard output as JSON.")
    var output: String = "-"

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if (file == nil) != example {
            throw ValidationError("Name a file with queries, keys and values, or ask for --example; not both.")
        }
        if let softCap, !(softCap > 0 && softCap.isFactorOfFloats) {
            throw ValidationError("--soft-cap is \(softCap); it must be from 1e-38 to 1e38.")
        }
        if let scale, !(scale == 0 || scale.isFactorOfFloats) {
            throw ValidationError("--scale is \(scale); it must be 0 or from 1e-38 to 1e38, with any sign.")
        }
        if keyValueHeads != nil && heads == nil { throw ValidationError("--key-value-heads needs --heads.") }
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            guard let file else {
                try writeOutput(
                    try WorkedExample(
                        similarity: similarity, scale: scale, temperature: temperature, bandwidth: bandwidth
                    )
                    .text())
                return
            }
            let tensors = try TensorFile.read(file)
            let operands = try Operands(tensors, heads: heads, keyValueHeads: keyValueHeads)
            let operation = try operation(tensors, batchCount: operands.queries.shape[0])
            if let problem = operation.problem(
                queries: operands.queries, keys: operands.keys, values: operands.values)
            {
                throw CommandFailure.failure(problem)
            }
            try operands.requireResults(weights: weights, scores: scores)
            for note in nonFiniteNotes(tensors) { StandardError.write("attend: \(note)\n") }
            let request = AttentionRequest(
                logSumExp: logSumExp, weights: weights ? 0..<operands.queries.shape[2] : nil,
                scores: scores ? .biased : nil)
            if plan {
                let plan = operation.plan(
                    queries: operands.queries, keys: operands.keys, values: operands.values, returning: request)
                StandardError.write("\(plan)\n")
            }
            let result = operation(
                queries: operands.queries, keys: operands.keys, values: operands.values, returning: request)
            try write(result, operands)
        }
    }

    private func operation(_ tensors: [String: Tensor], batchCount: Int) throws -> AttentionOperation {
        let known =
            ["queries", "keys", "values", "mask", "bias", "sinks"] + similarity.tensorNames
        if let unknown = tensors.keys.sorted().first(where: { !known.contains($0) }) {
            throw CommandFailure.failure(
                "The file holds '\(unknown)', which --similarity \(similarity.rawValue) does not use. Known: "
                    + "\(known.joined(separator: ", ")).")
        }
        if tensors["mask"] != nil && !mask.contains("file") {
            throw CommandFailure.usage("The file holds a mask. Use it with --mask file, or take it out.")
        }
        var bias = ScoreBias.none
        if let tensor = tensors["bias"] {
            guard tensor.elementType.isFloatingPoint, tensor.rank <= 4 else {
                throw CommandFailure.failure(
                    "'bias' has type \(tensor.elementType) and shape \(tensor.shape); it must hold numbers in at most "
                        + "4 dimensions.")
            }
            bias = .tensor(tensor)
        }
        if let sinks = tensors["sinks"], !sinks.elementType.isFloatingPoint {
            throw CommandFailure.failure("'sinks' is of type \(sinks.elementType); it must hold numbers.")
        }
        var operation = AttentionOperation(
            mask: try MaskExpression.mask(mask, batchCount: batchCount, booleans: tensors["mask"]), bias: bias,
            softCap: softCap, sinks: tensors["sinks"])
        operation.similarity = try similarity.measure(
            scale: scale, temperature: temperature, bandwidth: bandwidth, tensors: tensors)
        return operation
    }

    /// One line per tensor with numbers that are not finite.
    private func nonFiniteNotes(_ tensors: [String: Tensor]) -> [String] {
        tensors.sorted { $0.key < $1.key }.compactMap { name, tensor in
            guard tensor.elementType.isFloatingPoint else { return nil }
            // A score of −∞ hides a key, or leaves out a sink.
            let isScore = name == "bias" || name == "sinks"
            let elements = tensor.doubles
            let faults = elements.indices.filter {
                !elements[$0].isFinite && !(isScore && elements[$0] == -.infinity)
            }
            guard let first = faults.first else { return nil }
            var rest = first
            let indices = tensor.shape.reversed().map { extent in
                defer { rest /= extent }
                return rest % extent
            }.reversed()
            return "'\(name)' holds numbers that are not finite (\(faults.count) of \(elements.count)), the first "
                + "(\(elements[first])) at \(Array(indices)) of \(tensor.shape). Where a query sees them, "
                + "its output is not finite either."
        }
    }

    private func write(_ result: AttentionResult, _ operands: Operands) throws {
        let output = operands.restored(result.output)
        let named: [(String, Tensor?)] = [
            ("output", output), ("log_sum_exp", result.logSumExp.map(operands.trimmed)),
            ("weights", result.weights.map(operands.trimmed)), ("scores", result.scores.map(operands.trimmed)),
        ]
        let tensors = named.compactMap { name, tensor in tensor.map { (name: name, tensor: $0) } }
        let count = output.doubles.count { !$0.isFinite }
        if count > 0 {
            StandardError.write("attend: \(count) of the output's \(output.elementCount) numbers are not finite.\n")
        }
        if self.output == "-" {
            try writeOutput(TensorFile.json(tensors))
        } else {
            try TensorFile.write(tensors, to: self.output)
        }
    }
}

/// Queries, keys and values as `[B, H, T, D]`, and the way back to the shape they came in.
private struct Operands {
    let queries: Tensor
    let keys: Tensor
    let values: Tensor
    private let rank: Int
    private let mergesHeads: Bool

    init(_ tensors: [String: Tensor], heads: Int?, keyValueHeads: Int?) throws {
        let found = try ["queries", "keys", "values"].map { name in
            guard let tensor = tensors[name] else {
                let names = tensors.keys.sorted().joined(separator: ", ")
                throw CommandFailure.failure(
                    "The file has no tensor '\(name)'\(names.isEmpty ? "" : "; it has \(names)").")
            }
            guard tensor.elementType.isFloatingPoint else {
                throw CommandFailure.failure("'\(name)' is of type \(tensor.elementType); it must hold numbers.")
            }
            return tensor
        }
        let ranks = found.map(\.rank)
        guard let rank = ranks.first, ranks.allSatisfy({ $0 == rank }), 2...4 ~= rank, heads == nil || rank == 3 else {
            throw CommandFailure.failure(
                "Queries, keys and values have shapes \(found[0].shape), \(found[1].shape) and \(found[2].shape); they "
                    + "need 2 to 4 dimensions, the same number each\(heads == nil ? "" : ", and 3 with --heads").")
        }
        self.rank = rank
        mergesHeads = heads != nil
        if let heads {
            let counts = [heads, keyValueHeads ?? heads, keyValueHeads ?? heads]
            for (tensor, count) in zip(found, counts) where count < 1 || tensor.shape[2] % count != 0 {
                throw CommandFailure.failure("\(count) heads do not divide the last extent of \(tensor.shape).")
            }
            queries = found[0].splittingHeads(counts[0])
            keys = found[1].splittingHeads(counts[1])
            values = found[2].splittingHeads(counts[2])
        } else {
            let whole = found.map { $0.reshaped(to: [Int](repeating: 1, count: 4 - rank) + $0.shape) }
            (queries, keys, values) = (whole[0], whole[1], whole[2])
        }
    }

    func restored(_ output: Tensor) -> Tensor {
        mergesHeads ? output.mergingHeads() : trimmed(output)
    }

    /// Takes away the extents of 1 that were put in front.
    func trimmed(_ tensor: Tensor) -> Tensor {
        mergesHeads ? tensor : tensor.reshaped(to: Array(tensor.shape.dropFirst(4 - rank)))
    }

    /// Refuses results that would take far more memory than their operands.
    func requireResults(weights: Bool, scores: Bool) throws {
        // 1 GiB of float32.
        let limit = 1 << 28
        let results = [
            ("output", values.shape[3], true), ("weights", keys.shape[2], weights), ("scores", keys.shape[2], scores),
        ]
        for (name, width, isWanted) in results where isWanted {
            let shape = queries.shape[..<3] + [width]
            let count = shape.reduce(1) { product, extent in
                let (result, overflows) = product.multipliedReportingOverflow(by: extent)
                return overflows ? .max : result
            }
            if count > limit {
                throw CommandFailure.failure(
                    "'\(name)' would have shape \(Array(shape)), more than the \(limit) numbers that a result may "
                        + "have. Give fewer queries at once\(name == "output" ? "" : ", or leave out --\(name)").")
            }
        }
    }
}

extension Double {
    /// Whether scores in float32 can be multiplied by the number, and divided by it.
    var isFactorOfFloats: Bool { 1e-38...1e38 ~= magnitude }
}
