/* Reads the pictures of pictures.h and prints, for each, its class and its logits (floats as the integers of their
   bits), and at the end the mean number of instructions a picture. A program for a board reads a camera or a touch
   screen in their place. */
#include "board.h"
#include "pictures.h"

#define LENET_DECLARATIONS_ONLY
#include DIGIT /* the file's name, from the Makefile */

/* pictures.py writes grey ones of 28x28: for a network that takes others, put its own into pictures.h. */
typedef char pictures_are_what_the_network_takes[sizeof pictures[0] == LENET_PIXELS ? 1 : -1];

#ifdef LENET_LOGIT /* a file in int8 */
typedef int32_t number;
#else
typedef float number;
#endif

int main(void)
{
    static number logits[LENET_CLASSES];
    uint32_t spent = 0;
    int i, j;
    for (i = 0; i < PICTURES; i++) {
        const uint32_t start = board_clock();
        const int answer = lenet_read(pictures[i], logits);
        spent += board_clock() - start;
        board_print_number(answer);
        for (j = 0; j < LENET_CLASSES; j++) {
            union {
                number logit;
                int32_t bits;
            } word;
            word.logit = logits[j];
            board_print_number(word.bits);
        }
        board_print("\n");
    }
    board_print("instructions");
    board_print_number((int32_t)(spent / PICTURES * BOARD_INSTRUCTIONS));
    board_print("\n");
    return 0;
}
