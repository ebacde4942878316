"""Words of which the demo data are made."""

# fmt: off

TAGS = ("VIP", "wholesale", "retail", "new", "опт", "розница", "партнёр", "должник", "2025", "delivery")

RU_MEN = ("Александр", "Алексей", "Андрей", "Борис", "Виктор", "Дмитрий", "Евгений", "Иван", "Игорь", "Кирилл",
          "Михаил", "Николай", "Олег", "Павел", "Роман", "Сергей", "Тимур", "Фёдор", "Юрий", "Ярослав")
RU_WOMEN = ("Алина", "Анастасия", "Вера", "Галина", "Дарья", "Екатерина", "Елена", "Жанна", "Зоя", "Ирина",
            "Ксения", "Людмила", "Марина", "Надежда", "Ольга", "Полина", "Светлана", "Татьяна", "Юлия", "Яна")
# All of these take the same ending for a woman.
RU_SURNAMES = ("Абрамов", "Белов", "Воробьёв", "Голубев", "Ершов", "Жуков", "Зайцев", "Ильин", "Козлов", "Лебедев",
               "Морозов", "Никитин", "Орлов", "Павлов", "Рябов", "Соколов", "Тихонов", "Фомин", "Щербаков", "Яковлев")
RU_FEMALE_ENDING = "а"
RU_FORMS = ("ООО", "ООО", "ООО", "АО", "ПАО", "ТД")
RU_COMPANIES = ("Ромашка", "Северный ветер", "Техносервис", "Альфа-Строй", "Вектор", "Горизонт", "Диалог Плюс", "Енисей",
                "Заря", "Импульс", "Карат", "Лесной край", "Маяк", "Новый дом", "Оптима", "Полюс", "Родник", "Спектр",
                "Тайга", "Уралмебель", "Форвард", "Хлебный двор", "Центр печати", "Чайный путь", "Эталон", "Юг-Агро",
                "Янтарь", "Печати и штампы", "Мир бумаги", "Быстрая доставка")
# City, dialling code, the first three digits of its postcodes.
RU_CITIES = (("Москва", "495", "101"), ("Санкт-Петербург", "812", "190"), ("Новосибирск", "383", "630"),
             ("Екатеринбург", "343", "620"), ("Казань", "843", "420"), ("Нижний Новгород", "831", "603"),
             ("Самара", "846", "443"), ("Омск", "381", "644"), ("Ростов-на-Дону", "863", "344"),
             ("Пермь", "342", "614"), ("Воронеж", "473", "394"), ("Хабаровск", "421", "680"))
RU_STREETS = ("ул. Ленина", "ул. Мира", "пр. Победы", "ул. Садовая", "ул. Гагарина", "ул. Лесная", "наб. Речная",
              "ул. Пушкина", "ул. Заводская", "бул. Строителей", "ул. Советская", "пер. Тихий")
RU_SUBJECTS = ("Визитки, 1000 шт.", "Буклеты А4", "Каталог 48 стр.", "Штамп самонаборный", "Печать на оснастке",
               "Вывеска с подсветкой", "Календари настенные", "Бумага офисная, 50 пачек", "Наклейки круглые",
               "Дизайн логотипа", "Пакеты с логотипом", "Переплёт документов")
RU_NOTES = ("Звонить после обеда.", "Платит в конце месяца.", "Просит отсрочку 14 дней.", "Доставка только до склада.",
            "Постоянный клиент, скидка 5 %.", "Документы отправлять почтой.", "Сменился директор, уточнить реквизиты.")

EN_FIRST = ("Alice", "Benjamin", "Charlotte", "Daniel", "Emily", "Frank", "Grace", "Henry", "Isla", "Jack",
            "Katherine", "Liam", "Margaret", "Noah", "Olivia", "Patrick", "Ruth", "Samuel", "Thomas", "Victoria")
EN_SURNAMES = ("Adams", "Bennett", "Carter", "Davies", "Edwards", "Foster", "Green", "Hughes", "Irving", "Jones",
               "Kelly", "Lewis", "Mitchell", "Norris", "O'Brien", "Palmer", "Quinn", "Roberts", "Stone", "Turner")
EN_COMPANIES = ("Print", "Logistics", "Interiors", "Bakery", "Consulting", "Garden Supplies", "Engineering",
                "& Sons", "Stationery", "Catering", "Motors", "Textiles")
EN_FORMS = ("Ltd", "Ltd", "Ltd", "LLP", "plc")
EN_CITIES = (("London", "20", "EC1"), ("Manchester", "161", "M2"), ("Birmingham", "121", "B3"), ("Leeds", "113", "LS1"),
             ("Bristol", "117", "BS1"), ("Edinburgh", "131", "EH2"), ("Glasgow", "141", "G1"), ("Cardiff", "29", "CF10"))
EN_STREETS = ("High Street", "Station Road", "Church Lane", "Mill Road", "Victoria Street", "Park Avenue", "King Street",
              "Queens Road", "Market Place", "Bridge Street")
EN_SUBJECTS = ("Business cards, 1,000", "A4 leaflets", "Catalogue, 48 pages", "Self-inking stamp", "Company seal",
               "Illuminated sign", "Wall calendars", "Office paper, 50 reams", "Round stickers", "Logo design",
               "Branded bags", "Document binding")
EN_NOTES = ("Call after lunch.", "Pays at the end of the month.", "Asks for 14 days' credit.", "Deliver to the warehouse only.",
            "Regular customer, 5% off.", "Send papers by post.", "New director: check the bank details.")

# The weights of the check digits that end a Russian taxpayer number, by its length.
INN_WEIGHTS = {
    10: ((2, 4, 10, 3, 5, 9, 4, 6, 8),),
    12: ((7, 2, 4, 10, 3, 5, 9, 4, 6, 8), (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)),
}

# fmt: on

_LATIN = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
        "a b v g d e e zh z i y k l m n o p r s t u f kh ts ch sh sch  y  e yu ya".split(" "),
        strict=True,
    )
)


def latin(text: str) -> str:
    """Spell a Russian name with lower-case Latin letters, as in an e-mail address."""
    return "".join(_LATIN.get(letter, letter) for letter in text.lower())
