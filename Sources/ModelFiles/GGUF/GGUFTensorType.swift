extension GGUFFile {
    /// An element type of tensors that can be read; the raw value is the type's identifier in files.
    public enum TensorType: UInt32, CaseIterable, Sendable {
        /// IEEE 754 binary32.
        case float32 = 0
        /// IEEE 754 binary16.
        case float16 = 1
        /// The upper half of a binary32.
        case bfloat16 = 30
        /// `Q8_0`: blocks of 32, a binary16 scale, then 32 signed bytes.
        case q80 = 8
        /// `Q4_0`: blocks of 32, a binary16 scale, then 16 bytes of 4-bit values that 8 is subtracted from.
        case q40 = 2
        /// `Q4_1`: blocks of 32, a binary16 scale, a binary16 minimum, then 16 bytes of 4-bit values.
        case q41 = 3

        /// The name that GGUF and llama.cpp use, such as `Q4_1`.
        public var name: String {
            switch self {
            case .float32: "F32"
            case .float16: "F16"
            case .bfloat16: "BF16"
            case .q80: "Q8_0"
            case .q40: "Q4_0"
            case .q41: "Q4_1"
            }
        }

        /// The number of elements in a block; 1 for the types that have no blocks.
        public var blockLength: Int {
            switch self {
            case .float32, .float16, .bfloat16: 1
            case .q80, .q40, .q41: 32
            }
        }

        /// The number of bytes that a block takes.
        public var bytesPerBlock: Int {
            switch self {
            case .float32: 4
            case .float16, .bfloat16: 2
            case .q80: 34
            case .q40: 18
            case .q41: 20
            }
        }

        /// Returns the name of a type that is known but not read here, or `nil` for an unknown identifier.
        static func nameOfUnsupported(_ identifier: UInt32) -> String? {
            switch identifier {
            case 4: "Q4_2"
            case 5: "Q4_3"
            case 6: "Q5_0"
            case 7: "Q5_1"
            case 9: "Q8_1"
            case 10: "Q2_K"
            case 11: "Q3_K"
            case 12: "Q4_K"
            case 13: "Q5_K"
            case 14: "Q6_K"
            case 15: "Q8_K"
            case 16: "IQ2_XXS"
            case 17: "IQ2_XS"
            case 18: "IQ3_XXS"
            case 19: "IQ1_S"
            case 20: "IQ4_NL"
            case 21: "IQ3_S"
            case 22: "IQ2_S"
            case 23: "IQ4_XS"
            case 24: "I8"
            case 25: "I16"
            case 26: "I32"
            case 27: "I64"
            case 28: "F64"
            case 29: "IQ1_M"
            case 31: "Q4_0_4_4"
            case 32: "Q4_0_4_8"
            case 33: "Q4_0_8_8"
            case 34: "TQ1_0"
            case 35: "TQ2_0"
            case 36: "IQ4_NL_4_4"
            case 37: "IQ4_NL_4_8"
            case 38: "IQ4_NL_8_8"
            case 39: "MXFP4"
            default: nil
            }
        }
    }
}
