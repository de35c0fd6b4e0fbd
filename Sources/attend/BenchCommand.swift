internal import ArgumentParser
import Attention
import Foundation
import SequenceModels
import Workloads

/// `attend bench`: how fast this processor computes, and what share that is of what it can.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Times the package on this machine, beside what the processor can do at most.",
        discussion: """
            Everything, one subject, or one shape (batch, heads, key-value heads, queries, keys, dimension):
              attend bench
              attend bench decode gemm
              attend bench --shape 1,12,12,2048,2048,64 --causal --type bfloat16 --similarity cosine

            The peak of the arithmetic and of the memory are measured first. Each result is checked before it is timed; times
            are medians. Times of a machine that does other work at the same time mean little.
            """)

    @Argument(
        help: ArgumentHelp(
            "What to time: \(WorkloadSubject.allCases.map(\.rawValue).joined(separator: ", ")); all by default.",
            valueName: "subject"))
    var subjects: [Subject] = []

    @Option(help: ArgumentHelp("Time attention of this shape: B,H,G,T_q,T_k,D.", valueName: "sizes"))
    var shape: String?

    @Flag(help: "With --shape: a query sees only the keys up to its own.")
    var causal = false

    @Option(help: "With --shape: the type of queries, keys and values: float32, bfloat16, float16 or float64.")
    var type: FloatType = .float32

    @Option(help: "With --shape: the measure of similarity.")
    var similarity: Measure = Measure(kind: .scaledDot)

    @Flag(help: "With --shape: the gradients of queries, keys and values as well.")
    var backward = false

    @Option(help: ArgumentHelp("How long to run each.", valueName: "seconds"))
    var seconds: Double = 1.5

    @Flag(help: "Print a line of JSON for the machine, and then one for each work.")
    var json = false

    @OptionGroup var common: CommonOptions

    /// A subject by its name.
    struct Subject: ExpressibleByArgument {
        let subject: WorkloadSubject
        init?(argument: String) {
            guard let subject = WorkloadSubject(rawValue: argument) else { return nil }
            self.subject = subject
        }
        static var allValueStrings: [String] { WorkloadSubject.allCases.map(\.rawValue) }
    }

    /// A measure by its name.
    struct Measure: ExpressibleByArgument {
        let kind: SimilarityKind
        init(kind: SimilarityKind) { self.kind = kind }
        init?(argument: String) {
            guard let kind = SimilarityKind(rawValue: argument) else { return nil }
            self.kind = kind
        }
        var defaultValueDescription: String { kind.rawValue }
        static var allValueStrings: [String] { SimilarityKind.allCases.map(\.rawValue) }
    }

    /// A type of numbers by its name.
    enum FloatType: String, ExpressibleByArgument, CaseIterable {
        case float32, bfloat16, float16, float64
        var elementType: ElementType {
            switch self {
            case .float32: .float32
            case .bfloat16: .bfloat16
            case .float16: .float16
            case .float64: .float64
            }
        }
    }

    func validate() throws {
        if !(seconds > 0 && seconds <= 3600) {
            throw ValidationError("--seconds is \(seconds); it must be above 0, and at most 3600.")
        }
        if shape != nil {
            _ = try attentionWorkload()
            if !subjects.isEmpty { throw ValidationError("Give subjects or --shape, not both.") }
        } else if causal || type != .float32 || similarity.kind != .scaledDot || backward {
            throw ValidationError(
                "--causal, --type, --similarity and --backward say more about --shape: give it as well.")
        }
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            let workloads =
                shape != nil
                ? [try attentionWorkload().workload]
                : (subjects.isEmpty ? WorkloadSubject.allCases : subjects.map(\.subject)).flatMap(\.workloads)
            let peak = ProcessorPeak.measured()
            try writeOutput(json ? machineJSON(peak) : heading(peak))
            var skippedCount = 0
            for workload in workloads {
                do {
                    let time = try workload.seconds(running: .seconds(seconds))
                    let figures = Figures(workload, seconds: time, peak)
                    try writeOutput(json ? figures.json : figures.line)
                } catch let error as WorkloadError {
                    StandardError.write("attend: \(error)\n")
                    skippedCount += 1
                }
            }
            if skippedCount > 0 {
                throw CommandFailure.failure("\(skippedCount) of \(workloads.count) could not be timed.")
            }
        }
    }

    // MARK: - One shape

    private func attentionWorkload() throws -> AttentionWorkload {
        let sizes = (shape ?? "").split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        let given = sizes.compactMap { $0 }
        guard sizes.count == 6, given.count == 6, given.allSatisfy({ $0 > 0 }) else {
            throw ValidationError("--shape is '\(shape ?? "")'; it must be six sizes above 0: B,H,G,T_q,T_k,D.")
        }
        if given[1] % given[2] != 0 {
            throw ValidationError("--shape has \(given[1]) heads, which \(given[2]) key-value heads do not divide.")
        }
        // Operands, outputs and gradients together.
        var elementCount = 0
        for (heads, length) in [(given[1], given[3]), (given[2], given[4])] {
            var count = 2
            for factor in [given[0], heads, length, given[5]] {
                let (product, overflows) = count.multipliedReportingOverflow(by: factor)
                count = overflows ? .max : product
            }
            elementCount = elementCount.addingReportingOverflow(count).overflow ? .max : elementCount + count
        }
        if elementCount > 1 << 30 {
            throw ValidationError("--shape asks for more than 2^30 numbers of queries, keys, values and outputs.")
        }
        if causal && given[3] > given[4] {
            throw ValidationError(
                "--causal needs as many keys as queries, or more; --shape has \(given[4]) and \(given[3]).")
        }
        if backward && type != .float32 && type != .float64 {
            throw ValidationError("--backward is for float32 and float64, not \(type.rawValue).")
        }
        return AttentionWorkload(
            given[0], given[1], given[2], given[3], given[4], given[5], isCausal: causal,
            elementType: type.elementType, similarity: similarity.kind, isTraining: backward)
    }

    // MARK: - Output

    private func heading(_ peak: ProcessorPeak) -> String {
        func rate(_ value: Double) -> String { value > 0 ? "\(Int((value / 1e9).rounded()))" : "–" }
        return """
            \(Processor.name), \(KernelInfo.name) kernels, \(ComputeThreads.count) threads
            peak: float32 \(rate(peak.float32)) GFLOP/s, bfloat16 \(rate(peak.bfloat16)) GFLOP/s, int8 \
            \(rate(peak.int8)) GOP/s, memory \(rate(peak.memoryBandwidth)) GB/s

            \(Figures.columns)

            """
    }

    private func machineJSON(_ peak: ProcessorPeak) -> String {
        func number(_ value: Double) -> String { String(format: "%.3f", value / 1e9) }
        return "{\"processor\": \"\(Processor.name)\", \"kernels\": \"\(KernelInfo.name)\", \"threads\": "
            + "\(ComputeThreads.count), \"peak\": {\"float32\": \(number(peak.float32)), \"bfloat16\": "
            + "\(number(peak.bfloat16)), \"int8\": \(number(peak.int8)), \"gigabytesPerSecond\": "
            + "\(number(peak.memoryBandwidth))}}\n"
    }
}

/// What was measured of one work.
private struct Figures {
    let work: String
    let seconds: Double
    /// What is reported beside the time, with its unit: gigaoperations, gigabytes, and tokens, per second.
    var rates: [(key: String, unit: String, value: Double)]
    let fractionOfPeak: Double

    init(_ workload: Workload, seconds: Double, _ peak: ProcessorPeak) {
        work = workload.name
        self.seconds = seconds
        let rate = workload.amount / seconds
        rates =
            workload.bound == .memory
            ? [("gigabytesPerSecond", "GB/s", rate / 1e9)]
            : [("gflops", workload.bound == .int8 ? "GOP/s" : "GFLOP/s", rate / 1e9)]
        if let count = workload.tokenCount {
            rates.insert(("tokensPerSecond", "tokens/s", Double(count) / seconds), at: 0)
        }
        let limit = workload.bound.limit(peak)
        fractionOfPeak = limit > 0 ? rate / limit : 0
    }

    private static let nameWidth = 66

    static let columns = row("work", "time/ms", "rate", "of peak")

    var line: String {
        let rate = rates.map { String(format: "%.*f", $0.value < 100 ? 1 : 0, $0.value) + " " + $0.unit }.first ?? ""
        return Self.row(
            work, String(format: "%.3f", seconds * 1e3), rate, String(format: "%.0f %%", fractionOfPeak * 100)) + "\n"
    }

    var json: String {
        let rates = rates.map { ", \"\($0.key)\": " + String(format: "%.6g", $0.value) }.joined()
        return "{\"work\": \"\(work)\", \"seconds\": " + String(format: "%.6g", seconds) + rates
            + ", \"fractionOfPeak\": " + String(format: "%.4f", fractionOfPeak) + "}\n"
    }

    private static func row(_ work: String, _ time: String, _ rate: String, _ share: String) -> String {
        func padded(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(0, width - text.count)) + text
        }
        return work + String(repeating: " ", count: max(0, nameWidth - work.count)) + padded(time, 11)
            + padded(rate, 16) + padded(share, 9)
    }
}

/// What the system says of the processor.
private enum Processor {
    /// Its name, without quotes or other characters that JSON would have to escape.
    static let name: String = {
        let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
        // Linux on x86 gives a name; on ARM, at times a number alone.
        let found = lines.first { $0.hasPrefix("model name") }?.split(separator: ":").dropFirst().first
        let text = found.map(String.init) ?? "an unnamed processor"
        return String(text.filter { $0.isASCII && $0 != "\"" && $0 != "\\" }.drop { $0 == " " })
    }()
}
